"""What a recipe would do, found out without doing it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from privaudit.api.calls import finished
from privaudit.api.plugin import overrides
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.experiment.auditing import test_accuracy
from privaudit.experiment.context import RunContext
from privaudit.experiment.followed import followed
from privaudit.experiment.levels import control_of, wants_control
from privaudit.networks.answer import Answers
from privaudit.recipe import Subject
from privaudit.recipe.knowledge import shadow_subject


@dataclass(frozen=True)
class SubjectPlan:
    """The work of one subject.

    Attributes:
        subject: its label.
        levels: how many will be audited.
        parameters: of one network, before pruning.
        trainings: of single models.
        found: how many of them are in the cache already.
        steps: training steps that remain, of single models.
        examples: example-epochs that remain: steps times batch size.
        stack: models that share a step.
        seconds: estimated, for training and asking.
        cached: bytes that what remains takes in the cache at most: trainings, and scores of
            attacks, whether those are there or not.
        kept: bytes that its networks and scores take in the run's folder.
    """

    subject: str
    levels: int
    parameters: int
    trainings: int
    found: int
    steps: int
    examples: int
    stack: int
    seconds: float
    cached: int = 0
    kept: int = 0


def plan(context: RunContext) -> list[SubjectPlan]:
    """Run every subject's script without training, and time a few real steps of each.

    What attackers believe a subject to be, and its dense control, follow it in rows of their own.
    """
    if len(context.trained) == 0:
        return [_untrained(context, subject) for subject in context.recipe.subjects()]
    rows: list[SubjectPlan] = []
    believed: list[Subject] = []
    for subject in context.recipe.subjects():
        row, wanted = _planned(context, subject)
        rows.append(_attacked(context, row))
        for other in beliefs(context, subject, believed):
            rows.append(replace(_planned(context, other)[0], kept=0))
        if wanted:
            rows.append(_attacked(context, _control(context, subject, wanted)))
    return rows


def _planned(context: RunContext, subject: Subject) -> tuple[SubjectPlan, list[Tensor]]:
    """A subject's row, and for each level that wants a control the (M,) test accuracies."""
    cohort = context.cohort(subject, context.trained, plan=True)
    reached = 0
    wanted = []
    for _, shown in followed(subject, cohort, context.recipe.model):
        reached += 1
        if overrides(subject.defense, "finish"):
            shown = shown.fork()
            finished(subject.defense, shown, context.recipe.model)
        if wants_control(context.recipe, subject, shown.density()):
            wanted.append(_accuracy(context, shown))
    reached += context.of_dense is not None
    row = _row(context, subject, cohort, reached)
    return replace(row, kept=reached * _networks(context, cohort)), wanted


def _control(context: RunContext, subject: Subject, wanted: Sequence[Tensor]) -> SubjectPlan:
    """The row of a subject's dense control."""
    control = control_of(context.recipe, subject)
    cohort = context.cohort(control, context.trained, plan=True)
    cohort.match(context.ensemble.tests, torch.stack(list(wanted), 1))
    return _row(context, control, cohort, len(wanted))


def _accuracy(context: RunContext, cohort: Cohort) -> Tensor:
    """(M,) test accuracies where all is trained, so that its control is found; else NaN."""
    if any(record.found < record.models for record in cohort.records):
        return torch.full((len(cohort),), torch.nan, dtype=torch.float64)
    return test_accuracy(context, answers(cohort, context.ensemble.audited, kinds={"predicted": 1}))


def beliefs(context: RunContext, subject: Subject, earlier: list[Subject]) -> Iterator[Subject]:
    """What attackers believe a subject to be, where it is something else.

    Args:
        context: with the recipe.
        subject: that is attacked.
        earlier: what was believed of other subjects, and is trained already; it grows. So are
            the subjects before this one.
    """
    subjects = context.recipe.subjects()
    audited = subjects[: subjects.index(subject)]  # nobody makes those once more
    for entry in context.recipe.attacks:
        believed = shadow_subject(context.recipe, subject, entry)
        made = (*audited, *earlier)
        if believed is not subject and not any(_made_alike(believed, one) for one in made):
            earlier.append(believed)
            yield believed


def _made_alike(one: Subject, other: Subject) -> bool:
    """Whether two subjects are trained once for both."""
    return (one.sparsifier, one.then, one.defense, one.training) == (
        other.sparsifier,
        other.then,
        other.defense,
        other.training,
    )


def _row(context: RunContext, subject: Subject, cohort: Cohort, levels: int) -> SubjectPlan:
    steps = sum(r.steps for r in cohort.records)
    return SubjectPlan(
        subject=subject.label,
        levels=levels,
        parameters=cohort.network.size,
        trainings=sum(r.models for r in cohort.records),
        found=sum(r.found for r in cohort.records),
        steps=steps,
        examples=steps * subject.training.batch_size,
        stack=max((r.stack for r in cohort.records), default=1),
        seconds=steps * cohort.seconds_per_step() + levels * _asking(context, cohort),
        cached=sum(r.disk for r in cohort.records),
    )


def _attacked(context: RunContext, row: SubjectPlan) -> SubjectPlan:
    """A row with what the scores of its levels take: eight bytes for each, and a flag or two."""
    scores = row.levels * len(context.recipe.attacks) * len(context.ensemble.targets)
    everyone, audited = len(context.examples), context.ensemble.audited[context.ensemble.targets]
    rows = int(audited.sum()) // len(audited)
    return replace(
        row, cached=row.cached + scores * everyone * 9, kept=row.kept + scores * rows * 9
    )


def _networks(context: RunContext, cohort: Cohort) -> int:
    """Bytes of all targets' networks at one level; a given target is in the user's file."""
    if context.given is not None:
        return 0
    state = cohort.weights | cohort.buffers
    of_all = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    return of_all * len(context.ensemble.targets) // len(cohort)


def _untrained(context: RunContext, subject: Subject) -> SubjectPlan:
    """The row of a given target without shadows: it is only asked."""
    assert context.given is not None
    seconds = _asking(context, context.given.cohort)
    levels = 1 if context.of_dense is None else 2
    row = SubjectPlan(subject.label, levels, context.given.parameters, 0, 0, 0, 0, 1, seconds)
    return _attacked(context, row)


def _asking(context: RunContext, cohort: Cohort) -> float:
    """Estimated seconds to ask all models of one level, without the attacks' own work."""
    attacks = [attack for _, attack in context.recipe.attack_entries()]
    rows = torch.arange(min(500, len(context.examples)), device=context.device)
    state = cohort.states()[0]
    started = time.perf_counter()
    Answers(cohort.network).to_rows(state, cohort.data.plain, rows).cpu()
    per_row = (time.perf_counter() - started) / len(rows)
    plain = max(a.queries for a in attacks) * context.ensemble.role.numel()
    noisy = max(a.noise for a in attacks) * int(context.ensemble.audited.sum())
    return per_row * (plain + noisy)
