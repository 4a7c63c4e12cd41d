"""Attacks on one target after another, here or in other processes that share the answers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from privaudit.attacking import signals_of
from privaudit.cohort.workers import Call, Shared, Tell
from privaudit.levels import Level, Workplace
from privaudit.plugin import Attack
from privaudit.values import AttackScores, Outputs, Signals, Split

logger = logging.getLogger(__name__)

_LENT = 2**30  # bytes of answers from which writing them down costs more than it gains


@dataclass(frozen=True)
class Lent:
    """What models answer, in files for as long as `lent` is open.

    Attributes:
        folder: theirs.
        shapes: of each tensor, by name.
        types: likewise.
        noise_scale: as in `Outputs`.
    """

    folder: Path
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, torch.dtype]
    noise_scale: float

    def load(self) -> Outputs:
        """The answers, mapped into memory: a process that writes to them changes its own only."""
        found = {
            name: torch.from_file(
                str(self.folder / name), shared=False, size=prod(shape), dtype=self.types[name]
            ).view(shape)
            for name, shape in self.shapes.items()
        }
        return Outputs(**found, noise_scale=self.noise_scale)


@contextmanager
def lent(outputs: Outputs) -> Iterator[Lent]:
    """Answers for other processes, until the block ends."""
    tensors = {f.name: getattr(outputs, f.name) for f in fields(outputs)}
    tensors = {n: t.contiguous() for n, t in tensors.items() if isinstance(t, Tensor)}
    with tempfile.TemporaryDirectory(prefix="privaudit-") as folder:
        for name, tensor in tensors.items():
            tensor.numpy().tofile(Path(folder) / name)
        yield Lent(
            Path(folder),
            {n: tuple(t.shape) for n, t in tensors.items()},
            {n: t.dtype for n, t in tensors.items()},
            outputs.noise_scale,
        )


@dataclass(frozen=True)
class Turn:
    """One attack on one target.

    Attributes:
        attack: the attack.
        seed: the number of the target's split among the recipe's.
        target: its number among the split's targets.
    """

    attack: Attack
    seed: int
    target: int


def scored_there(
    tell: Tell,
    where: Shared,
    answers: Lent,
    believed: Lent,
    models: slice,
    split: Split,
    turn: Turn,
    seed: int,
) -> AttackScores:
    """What an attack makes of a target, in another process.

    Args:
        tell: not needed.
        where: the examples.
        answers: of the models under attack.
        believed: of the shadows.
        models: of the split, among those that answer.
        split: the target's.
        turn: the attack and the target.
        seed: of the run.
    """
    signals = signals_of(
        turn.attack,
        where.load(),
        split,
        answers.load()[models],
        believed.load()[models],
        turn.target,
        seed,
    )
    return turn.attack.score(signals)


def scores_of(
    place: Workplace, level: Level, believed: list[Level], turns: list[Turn]
) -> Iterator[AttackScores]:
    """What each turn comes to, in this order; made in other processes where there are some.

    Args:
        place: where and on what.
        level: the models under attack, and what they answer.
        believed: for each turn, what the shadows answer.
        turns: the attacks and their targets.
    """
    with ExitStack() as stack:
        workers = place.workers
        files = _lent(place, {id(each): each.outputs for each in (level, *believed)}, turns, stack)
        if workers is None or files is None:
            for turn, shadows in zip(turns, believed, strict=True):
                yield turn.attack.score(_signals(place, level, shadows, turn))
            return

        def calls() -> Iterator[Call]:
            where = workers.share(place.examples)
            for turn, shadows in zip(turns, believed, strict=True):
                models = _models(place, turn)
                outputs = files[id(level)], files[id(shadows)]
                split, seed = place.ensemble.splits[turn.seed], place.recipe.seeds[turn.seed]
                yield scored_there, (where, *outputs, models, split, turn, seed)

        early: dict[int, AttackScores] = {}
        done = 0
        for number, scores in workers.run(calls(), lambda told: None):
            early[number] = scores
            while done in early:
                yield early.pop(done)
                done += 1


def _lent(
    place: Workplace, answers: Mapping[int, Outputs], turns: list[Turn], stack: ExitStack
) -> dict[int, Lent] | None:
    """The answers in files, where other processes can make use of them."""
    size = sum(outputs.nbytes for outputs in answers.values())
    if not place.workers or len(turns) < 2 or size > _LENT or not place.workers.accept(turns):
        return None
    try:
        return {key: stack.enter_context(lent(outputs)) for key, outputs in answers.items()}
    except OSError as error:  # a full disk, say
        logger.warning("attacks stay in this process: %s", error)
        return None


def _signals(place: Workplace, level: Level, shadows: Level, turn: Turn) -> Signals:
    models = _models(place, turn)
    return signals_of(
        turn.attack,
        place.examples,
        place.ensemble.splits[turn.seed],
        level.outputs[models],
        shadows.outputs[models],
        turn.target,
        place.recipe.seeds[turn.seed],
    )


def _models(place: Workplace, turn: Turn) -> slice:
    """Where one seed's models are, which follow each other: what is cut out is no copy."""
    models = place.ensemble.models(turn.seed)
    return slice(int(models[0]), int(models[-1]) + 1)
