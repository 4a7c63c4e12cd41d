"""`privaudit report --explain`: is it sparsity that protects, and who is exposed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privaudit.explain.classes import ClassExposure, exposed_classes
from privaudit.explain.discoveries import FDR, Discoveries, discoveries
from privaudit.explain.disentangle import Disentangled, disentangle
from privaudit.explain.examples import ExampleExposure, exposed_examples
from privaudit.explain.points import clouds
from privaudit.explain.scores import LevelScores, level_scores, strongest_level
from privaudit.report.aggregate import compare
from privaudit.report.choose import pick_baselines
from privaudit.report.names import run_names
from privaudit.report.rows import Row
from privaudit.store.result import RunResult

__all__ = ["Explanation", "Exposure", "explain"]


@dataclass(frozen=True)
class Exposure:
    """Who is exposed at one level of a run, by the run's strongest attack.

    Attributes:
        run: the run's name.
        subject: label of the subject.
        level: label of the level.
        attack: label of the attack.
        audits: how many networks of the level were attacked.
        strongest: whether this is the run's most exposed level.
        classes: every class, the surest exposed first.
        examples: the ten most exposed, likewise.
        discoveries: whom an attacker can name whose list holds few false ones.
    """

    run: str
    subject: str
    level: str
    attack: str
    audits: int
    strongest: bool
    classes: tuple[ClassExposure, ...]
    examples: tuple[ExampleExposure, ...]
    discoveries: Discoveries


@dataclass(frozen=True)
class Explanation:
    """What stands behind a comparison of runs.

    Attributes:
        attacks: sparsity, accuracy and privacy told apart, the strongest attack first.
        exposures: one for each run and level.
        unlabelled: names of runs that did not keep their labels: they tell nothing of classes.
    """

    attacks: tuple[Disentangled, ...]
    exposures: tuple[Exposure, ...]
    unlabelled: tuple[str, ...]


def explain(
    results: Sequence[RunResult],
    baseline: str | None = None,
    *,
    everywhere: bool = False,
    rows: Sequence[Row] | None = None,
    fdr: float = FDR,
) -> Explanation:
    """Everything that `--explain` tells.

    Args:
        results: the runs; what belongs to no single run is taken over all of them.
        baseline: SUBJECT or SUBJECT/LEVEL that gains and losses are measured against; without,
            each run's densest level.
        everywhere: look at classes and examples of every level, not only the most exposed.
        rows: what `report.compare` makes of the runs, in their order, where that is known
            already: it takes time.
        fdr: the share of false ones that a list of named examples may hold in expectation, above 0
            and below 1.

    Raises:
        RecipeError: no run has that baseline.
        StoreError: a run's scores are damaged.
    """
    chosen = _baselines(compare(results) if rows is None else rows, baseline)
    exposures: list[Exposure] = []
    unlabelled: list[str] = []
    for name, result in zip(run_names(results), results, strict=True):
        run_exposures = _exposures(name, result, everywhere, fdr)
        exposures += run_exposures
        if not run_exposures:
            unlabelled.append(name)
    return Explanation(
        tuple(disentangle(cloud, chosen) for cloud in clouds(results)),
        tuple(exposures),
        tuple(unlabelled),
    )


def _baselines(rows: Sequence[Row], wanted: str | None) -> Mapping[str, tuple[str, str, str]]:
    rows = [row for row in rows if "" not in row.failed]
    if wanted is None:
        baselines = {
            run: max(
                (row for row in rows if row.run == run),
                key=lambda row: (not row.matched, row.density),
            )
            for run in dict.fromkeys(row.run for row in rows)
        }
    else:
        runs: dict[str, list[Row]] = {}
        for row in rows:
            runs.setdefault(row.run, []).append(row)
        baselines = pick_baselines(runs.values(), wanted)
    return {run: (row.run, row.subject, row.level) for run, row in baselines.items()}


def _exposures(name: str, result: RunResult, everywhere: bool, fdr: float) -> list[Exposure]:
    strongest = next(iter(clouds([result])), None)
    if strongest is None:
        return []
    worst = strongest_level(result, strongest.attack)
    return [
        _exposure(name, level, (level.subject, level.level) == worst, fdr)
        for level in level_scores(result, strongest.attack, None if everywhere else worst)
    ]


def _exposure(name: str, level: LevelScores, strongest: bool, fdr: float) -> Exposure:
    found = discoveries(level, fdr)
    return Exposure(
        name,
        level.subject,
        level.level,
        level.attack,
        len(level.audits),
        strongest,
        tuple(exposed_classes(level)),
        tuple(exposed_examples(level, named=found.times_named())),
        found,
    )
