"""What one attack gave every example of one level, for plots of single examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privaudit.errors import StoreError
from privaudit.explain.scores import strongest_level
from privaudit.figures.chosen import strongest
from privaudit.report.choose import find_level, pick_level
from privaudit.report.escape import plain
from privaudit.report.evidence import Attacked, Audited, Evidence
from privaudit.report.names import run_names
from privaudit.store.result import RunResult


@dataclass(frozen=True)
class Level:
    """One level of a run.

    Attributes:
        run: the run's name, numbered where several share it.
        subject: label of the subject.
        level: label of the level.
        attacks: on it, in run order.
    """

    run: str
    subject: str
    level: str
    attacks: tuple[str, ...]

    @property
    def name(self) -> str:
        """Subject and level, as the report names them."""
        return f"{self.subject} / {self.level}" if self.level else self.subject


def picked(
    results: Sequence[RunResult], attack: str | None, wanted: str | None
) -> list[tuple[Level, Evidence]]:
    """One level of each run that has it, with what the run knows of it.

    Args:
        results: the runs.
        attack: label of one that the level is attacked with; None: any.
        wanted: SUBJECT or SUBJECT/LEVEL; None: the level that the attack, or the strongest,
            tells most about.

    Raises:
        RecipeError: no run has that level.
    """
    if attack is None and wanted is None:
        attack = strongest(results)
    every = _levels(results, attack)
    if wanted is not None:
        pick_level([level for run in every for level in run], wanted)
    chosen = []
    for result, here in zip(results, every, strict=True):
        if wanted is not None:
            level = find_level(here, wanted)
        else:
            level = _strongest(result, here, attack or "") if here else None
        if level is not None:
            chosen.append((level, Evidence(result)))
    return chosen


def kept(level: Level, attack: str, evidence: Evidence) -> tuple[Attacked, list[Audited]]:
    """The audits of one attack on a level, with what was kept of their examples.

    Raises:
        StoreError: the run has not kept it, or it is damaged.
    """
    attacked = evidence.attacked(level, attack)
    if attacked.examples is None:
        raise StoreError(
            f"{plain(level.run)}: this cannot be drawn, as the run has not kept who was a member "
            "and how each example was scored; run its recipe again"
        )
    return attacked, attacked.examples


def _levels(results: Sequence[RunResult], attack: str | None) -> list[list[Level]]:
    """Of each run, those with that attack, or all."""
    every = []
    for run, result in zip(run_names(results), results, strict=True):
        attacks: dict[tuple[str, str], dict[str, None]] = {}
        for audit in result.audits:
            attacks.setdefault((audit.subject, audit.level), {})[audit.attack] = None
        made = [Level(run, *name, tuple(labels)) for name, labels in attacks.items()]
        every.append([level for level in made if attack is None or attack in level.attacks])
    return every


def _strongest(result: RunResult, levels: Sequence[Level], attack: str) -> Level:
    known = any(a.attack == attack and a.metrics["auc"] is not None for a in result.audits)
    if not known:
        return levels[0]
    name = strongest_level(result, attack)
    return next(level for level in levels if (level.subject, level.level) == name)
