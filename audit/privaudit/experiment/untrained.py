"""Networks of a level that training has taught nothing, targets or shadows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.training import training_doubts
from privaudit.experiment.ensemble import Ensemble
from privaudit.experiment.level import Level
from privaudit.experiment.own_answers import fitnesses


def untrained(
    ensemble: Ensemble,
    y: Tensor,
    names: Sequence[Sequence[str]],
    level: Level,
    shadow_levels: Sequence[Level],
) -> list[Doubt]:
    """Doubts about the training of targets, and of the shadows that attacks on them use.

    Args:
        ensemble: who was trained on what.
        y: (N,) int64.
        names: of each seed's targets, what doubts call them.
        level: the targets' models and what they answer.
        shadow_levels: of each attack, the level that its shadows are taken from.
    """
    made = {id(one): fitnesses(one.outputs, y, ensemble.learned) for one in (level, *shadow_levels)}
    return list(
        dict.fromkeys(
            doubt
            for shadows in dict.fromkeys(map(id, shadow_levels))
            for name, target, others in _targets(ensemble, names)
            for doubt in training_doubts(
                name, made[id(level)][target], [made[shadows][other] for other in others]
            )
        )
    )


def _targets(
    ensemble: Ensemble, names: Sequence[Sequence[str]]
) -> Iterator[tuple[str, int, list[int]]]:
    """Of every target its name, its place, and the places of its shadows."""
    for s, split in enumerate(ensemble.splits):
        models = ensemble.models(s)
        targets = models[split.targets].tolist()
        for name, target, shadows in zip(names[s], targets, split.shadows, strict=True):
            yield name, target, models[shadows].tolist()
