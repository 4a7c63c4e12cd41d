"""Trains a subject and asks its models at every level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from privaudit.api.plugin import Defense, Sparsifier
from privaudit.cohort import Cohort
from privaudit.errors import PluginError, PrivauditError
from privaudit.events import LevelReached
from privaudit.experiment.context import RunContext, asked
from privaudit.experiment.diverged import diverged
from privaudit.experiment.followed import followed
from privaudit.experiment.level import DENSE, Level, beside, joined
from privaudit.experiment.originals import finished_by_defense, original_level
from privaudit.experiment.own_answers import lost
from privaudit.experiment.promises import promise_of
from privaudit.experiment.versions import Versions
from privaudit.recipe import Recipe, Subject
from privaudit.recipe.model import Entry, acts, combined

Script = Callable[[Cohort, Tensor], Iterable[tuple[str, Cohort]]]
"""Trains models (k,) int64 that are one cohort; gives the cohort at each level, with its label."""


def levels(context: RunContext, subject: Subject) -> Iterator[Level]:
    """Every level of a subject, as soon as all models have reached it.

    Raises:
        PluginError: the sparsifier's script is not the same for every cohort, or has no level.
    """

    def script(cohort: Cohort, models: Tensor) -> Iterator[tuple[str, Cohort]]:
        yield from followed(subject, cohort, context.recipe.model)

    yield from _together(context, subject, script)


def wants_control(recipe: Recipe, subject: Subject, density: Tensor) -> bool:
    """Whether a level is to be compared with dense networks of its own accuracy.

    Args:
        recipe: that says whether any is.
        subject: of the level.
        density: (M,) of the level's networks.
    """
    if recipe.matched == "undefended" and acts(subject.defense):
        return True
    return bool(recipe.matched) and float(density.mean()) < DENSE


def control_of(recipe: Recipe, subject: Subject) -> Subject:
    """What a subject is compared with: dense, under the same defense or under none."""
    defense = Entry[Defense](plugin=Defense(name="none"))
    if recipe.matched != "undefended":
        defense = next(entry for entry in recipe.defenses if entry.title == subject.defense_label)
    return replace(
        subject,
        label=f"dense matched to {subject.label}",
        sparsifier=Sparsifier(name="control"),
        sparsifier_label="dense control",
        defense=defense.plugin,
        defense_label=defense.title,
        training=combined(recipe.training, defense.training),
        then=None,
    )


def controls(
    context: RunContext, control: Subject, wanted: Mapping[str, Tensor]
) -> Iterator[Level]:
    """A dense control for each level of a sparse subject: as accurate, but not sparse.

    Args:
        context: where and on what.
        control: of the sparse subject.
        wanted: (M,) test accuracies, float64, by level.
    """

    def script(cohort: Cohort, models: Tensor) -> Iterator[tuple[str, Cohort]]:
        tests = context.ensemble.tests[models]
        accuracy = torch.stack(list(wanted.values()), 1)[models]
        yield from zip(wanted, cohort.match(tests, accuracy), strict=True)

    yield from _together(context, control, script)


def _together(context: RunContext, subject: Subject, script: Script) -> Iterator[Level]:
    """The levels of all models: of those trained here, and of a given target beside them.

    Before the first comes that of the given target's dense original, where there is one.
    """
    trained: Iterable[Level | None] = [None]
    if len(context.trained):
        trained = _trained(context, subject, script)
    dense, waits = context.of_dense, True
    for fresh in trained:
        if dense is not None and dense.given is not None and waits:
            waits = False
            if (before := original_level(subject, dense, fresh)) is not None:
                context.on_event(LevelReached(before.label, float(before.density.mean())))
                yield before
                del before
        level = fresh if context.given is None else beside(context, context.given, fresh)
        assert level is not None  # without a given target every model is trained
        context.on_event(LevelReached(level.label, float(level.density.mean())))
        yield level
        del fresh, level


def _trained(context: RunContext, subject: Subject, script: Script) -> Iterator[Level]:
    """The levels of all cohorts that a subject's models are cut into, joined."""
    groups = context.groups(subject)
    if len(groups) == 1:
        yield from _audited(context, subject, groups[0], script)
        return
    parts = [list(_audited(context, subject, models, script)) for models in groups]
    if len({len(part) for part in parts}) > 1:
        raise PluginError(
            f"sparsifier {subject.sparsifier.name!r} yields more levels for some models than for "
            "others: it must not choose by what it finds in the weights"
        )
    for part in zip(*parts, strict=True):
        yield joined(part)


def _audited(
    context: RunContext,
    subject: Subject,
    models: Tensor,
    script: Script,
) -> Iterator[Level]:
    """What one cohort answers each time its script reaches a level.

    Raises:
        PrivauditError: a network's training diverged; or something else, if none has.
    """
    cohort = context.cohort(subject, models)
    versions = Versions(context, subject, models)
    try:
        for label, reached in script(cohort, models):
            level = _level(context, subject, models, label, reached)
            yield versions.beside(reached, level)
            del level
    except PrivauditError as error:
        astray = ~cohort.finite()  # of whatever meets them first, none says why they are not
        if not bool(astray.any()):
            raise
        raise diverged(context, subject, models, cohort.lost, astray) from error


def _level(
    context: RunContext, subject: Subject, models: Tensor, label: str, cohort: Cohort
) -> Level:
    shown = finished_by_defense(context, subject, cohort)
    outputs = asked(shown, context.ensemble.audited[models], context.recipe)
    astray = lost(outputs)
    if bool(astray.any()):
        raise diverged(context, subject, models, shown.lost, astray)
    notes, promise = shown.take_notes(), promise_of(subject.defense, shown)
    if promise is not None:
        notes["epsilon"] = torch.full((len(shown),), promise.epsilon, dtype=torch.float64)
    cohort.take_notes()  # a fork has had its own copy
    stack = max((record.stack for record in cohort.records), default=1)
    state, network = shown.weights | shown.buffers, shown.network.module
    counts = shown.density(), shown.nonzero()
    history = shown.history.cpu() if shown.history.shape[1] else None
    return Level(label, outputs, *counts, state, network, notes, stack, promise, history)
