"""How much a run will train, told before it begins, so that its end can be foreseen."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import torch

from privaudit.api.boundary import written
from privaudit.api.watch import Seal
from privaudit.errors import PrivauditError
from privaudit.events import Event, FitStarted, RunStarted
from privaudit.experiment.context import RunContext
from privaudit.experiment.followed import followed
from privaudit.experiment.levels import control_of, wants_control
from privaudit.experiment.plan import beliefs
from privaudit.recipe import Subject


def forecast(context: RunContext) -> RunStarted:
    """Go through every subject's script without training.

    A training that two subjects share is counted for both. A script that fails counts as far as it
    goes: what is wrong is told when its turn comes.

    Raises:
        DamageError: a script has written into the examples, which those to come would not notice.
    """
    fits: list[FitStarted] = []

    def listen(event: Event) -> None:
        if isinstance(event, FitStarted):
            fits.append(event)

    if len(context.trained) == 0:  # a given target alone, which is only asked
        return RunStarted(0, 0, tuple(0 for _ in context.recipe.subjects()))
    silent = replace(context, on_event=listen, workers=None)
    seal = sealed_examples(context)
    parts, believed = [], list[Subject]()
    for subject in context.recipe.subjects():
        before = len(fits)
        with suppress(PrivauditError):
            levels = _go_through(silent, subject)
            for other in beliefs(silent, subject, believed):
                _go_through(silent, other)
            if levels:
                _match(silent, subject, levels)
        check_seal(context, subject, seal)
        parts.append(sum((fit.models - fit.found) * fit.epochs for fit in fits[before:]))
    return RunStarted(
        trainings=sum(fit.models for fit in fits),
        found=sum(fit.found for fit in fits),
        epochs=tuple(parts),
    )


def sealed_examples(context: RunContext) -> Seal:
    """The examples as they are before a script goes through without training."""
    every = {name: getattr(context.examples, name) for name in ("x", "y", "mean", "std")}
    return Seal({f"the dataset's {name}": tensor for name, tensor in every.items()})


def check_seal(context: RunContext, subject: Subject, seal: Seal) -> None:
    """See that a subject's script has not written into the examples.

    Raises:
        DamageError: it has.
    """
    if name := seal.broken():
        raise written((*subject.plugins, context.recipe.model), name)


def _go_through(context: RunContext, subject: Subject) -> int:
    """How many levels of a subject want a control."""
    wanted = 0
    for models in context.groups(subject):
        cohort = context.cohort(subject, models, plan=True)
        wanted = 0
        for _, shown in followed(subject, cohort, context.recipe.model):
            wanted += wants_control(context.recipe, subject, shown.density())
    return wanted


def _match(context: RunContext, subject: Subject, levels: int) -> None:
    control = control_of(context.recipe, subject)
    for models in context.groups(control):
        unknown = torch.full((len(models), levels), torch.nan, dtype=torch.float64)
        cohort = context.cohort(control, models, plan=True)
        cohort.match(context.ensemble.tests[models], unknown)
