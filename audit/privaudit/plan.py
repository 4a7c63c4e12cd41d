"""What a recipe would do, found out without doing it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from privaudit.cohort import Cohort
from privaudit.cohort.train import answer
from privaudit.levels import Workplace
from privaudit.plugin import overrides
from privaudit.recipe import Subject


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


def plan(place: Workplace) -> list[SubjectPlan]:
    """Run every subject's script without training, and time a few real steps of each."""
    return [_planned(place, subject) for subject in place.recipe.subjects()]


def _planned(place: Workplace, subject: Subject) -> SubjectPlan:
    count = len(place.ensemble.seeds)
    cohort = place.cohort(subject, torch.arange(count), plan=True)
    levels = 0
    for _ in subject.sparsifier.sparsify(cohort):
        levels += 1
        if overrides(subject.defense, "finish"):
            subject.defense.finish(cohort.fork())
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
        seconds=steps * cohort.seconds_per_step() + levels * _asking(place, cohort),
    )


def _asking(place: Workplace, cohort: Cohort) -> float:
    """Estimated seconds to ask all models of one level, without the attacks' own work."""
    attacks = [attack for _, attack in place.recipe.attack_entries()]
    rows = torch.arange(min(500, len(place.examples)), device=place.device)
    model = cohort.each()[0]
    buffers = {n: b[0] for n, b in model.buffers.items()}
    started = time.perf_counter()
    answer(cohort.network, model.flat[0], buffers, cohort.data, rows).cpu()
    each = (time.perf_counter() - started) / len(rows)
    plain = max(a.queries for a in attacks) * place.ensemble.role.numel()
    noisy = max(a.noise for a in attacks) * int(place.ensemble.audited.sum())
    return each * (plain + noisy)
