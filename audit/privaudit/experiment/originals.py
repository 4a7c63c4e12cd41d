"""The dense originals of sparse networks, and what a defense makes of either."""

from __future__ import annotations

from dataclasses import replace

import torch

from privaudit.answers import ORIGINAL
from privaudit.api.boundary import guest
from privaudit.api.calls import finished
from privaudit.api.plugin import overrides
from privaudit.cohort import Cohort
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import DENSE, Level, beside
from privaudit.recipe import Subject


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
