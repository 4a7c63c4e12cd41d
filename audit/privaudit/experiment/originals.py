"""The dense originals of sparse networks: what they answer, and which attacks need them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from privaudit.api.boundary import guest
from privaudit.api.calls import finished
from privaudit.api.plugin import Attack, overrides
from privaudit.cohort import Cohort
from privaudit.cohort.models import Snapshot
from privaudit.experiment.context import RunContext, asked
from privaudit.experiment.level import DENSE, Level, beside
from privaudit.recipe import Recipe, Subject
from privaudit.values import Outputs

ORIGINAL = "original"
"""The signal that attacks ask for, and the level of a given target's dense original."""


def asks_originals(recipe: Recipe) -> bool:
    """Whether originals are asked: an attack needs them, or one is given and audited itself."""
    given = recipe.target is not None and recipe.target.dense is not None
    return given or any(ORIGINAL in attack.signals for _, attack in recipe.attack_entries())


class Originals:
    """What the originals of one cohort's models answer; asked once for all levels.

    They stand behind the same defense as the sparse networks.
    """

    def __init__(self, context: RunContext, subject: Subject, models: Tensor) -> None:
        self._context, self._subject, self._models = context, subject, models
        self._wanted = asks_originals(context.recipe)
        self._of: Snapshot | None = None
        self._outputs: Outputs | None = None

    def of(self, cohort: Cohort) -> Outputs | None:
        """The answers; None where nobody asks, or the sparsifier has marked no original."""
        snapshot = cohort.original
        if not self._wanted or snapshot is None:
            return None
        if snapshot is not self._of:
            dense = cohort.fork()
            dense.return_to(snapshot)
            dense = finished_by_defense(self._context, self._subject, dense)
            audited = self._context.ensemble.audited[self._models]
            self._of, self._outputs = snapshot, asked(dense, audited, self._context.recipe)
        return self._outputs


def finished_by_defense(context: RunContext, subject: Subject, cohort: Cohort) -> Cohort:
    """The cohort as its defense shows it to the world: a fork, where `finish` changes it."""
    if not overrides(subject.defense, "finish"):
        return cohort
    shown = cohort.fork()
    finished(subject.defense, shown, context.recipe.model)
    with guest(subject.defense, "finish"):
        shown.check_copies()
        shown.companions()  # they have learnt, if `finish` was to see to it
    return shown


def original_level(subject: Subject, context: RunContext, shadows: Level | None) -> Level | None:
    """The dense original of a given target, beside the originals of its shadows.

    Args:
        subject: whose shadows they are.
        context: with the original as the given target.
        shadows: their first level; None without shadows.

    Returns:
        None where the shadows are sparse and have no originals.
    """
    assert context.given is not None
    if shadows is not None:
        originals = shadows.outputs.original
        if originals is not None:
            full, whole = shadows.nonzero / shadows.density, torch.ones_like(shadows.density)
            shadows = replace(shadows, outputs=originals, nonzero=full, density=whole)
        elif float(shadows.density.mean()) < DENSE:
            return None
        shadows = replace(shadows, label=ORIGINAL)
        return beside(context, context.given, shadows)
    return replace(beside(context, context.given, None), label=ORIGINAL)


def left_out(attack: Attack, subject: Subject, level: Level, shadows: Level) -> str:
    """Why an attack that needs originals is not made on a level, as a sentence; "" where it is.

    Args:
        attack: any.
        subject: under audit.
        level: of it.
        shadows: what the attacker's shadows answer.
    """
    if ORIGINAL not in attack.signals:
        return ""
    theirs, given = level.outputs.original is not None, level.given
    if theirs and shadows.outputs.original is not None:
        return ""
    why = "it was not made sparse from a dense network that was trained before"
    if given is not None and given.original is not None:
        why = (
            "its shadows have no dense originals; name in sparsifiers what made the target sparse, "
            "or set shadows: 0"
        )
    elif given is not None:
        why = "it is the dense original itself"
    elif theirs:
        why = "the attacker believes in shadows that have no dense originals"
    what = f"{subject.label} / {level.label}" if level.label else subject.label
    return f"attack {attack.name!r} is left out for {what}: {why}"
