"""What a unit of the journal is called: by everything that determines what is in it."""

from __future__ import annotations

from privaudit.api.kinds.defense import LEARNING
from privaudit.api.plugin import Defense, Sparsifier, overrides
from privaudit.store.journal import digest
from privaudit.train.fit import Fit
from privaudit.training import SPEED

_SHAPES = ("penalty", "project", "memory", "remember")
_GAME = "a companion has batches and answers of its own"  # units that are older lack these words
_BF16 = "bf16 alike in any company"  # as it is trained now; units that are older say bf16


def unit_keys(source: str, fit: Fit) -> list[str]:
    """The key of each model's unit: a digest of everything that determines what it holds.

    Args:
        source: a digest of the examples and of the plugin that built the network.
        fit: what is done to it.
    """
    options = fit.options.model_dump(mode="json", exclude=set(SPEED))
    if options["precision"] == "bf16":
        options["precision"] = _BF16
    common = digest(source, options, fit.until, fit.number, *_hooks(fit))
    start = fit.start
    return [
        digest(
            common,
            fit.seeds[m],
            start.flat[m],
            {n: b[m] for n, b in start.buffers.items()},
            start.companion[m],
            {n: b[m] for n, b in start.companion_buffers.items()},
            None if fit.trainable is None else fit.trainable[m],
            rows.member,
            rows.validation,
            rows.reference if fit.objective.reference else None,
        )
        for m, rows in enumerate(fit.rows)
    ]


def _hooks(fit: Fit) -> list[Sparsifier | Defense | str]:
    """The plugins that have a say in this fit; others must not change its key."""
    objective, prepared_by = fit.objective, fit.prepared_by or fit.objective.sparsifier
    hooks: list[Sparsifier | Defense | str] = ["sparsifier", "defense"]
    defense = objective.defense
    defense = objective.defense
    plays = objective.companion is not None
    if plays or defense.per_example or any(overrides(defense, name) for name in LEARNING):
        hooks.append(defense)
    if plays:
        hooks.append(_GAME)
    prepares = overrides(prepared_by, "prepare")
    shapes = objective.shapes and any(overrides(objective.sparsifier, name) for name in _SHAPES)
    if shapes and not (prepares and prepared_by == objective.sparsifier):
        hooks.insert(1, objective.sparsifier)
    if prepares:
        hooks.insert(1, prepared_by)
    return hooks
