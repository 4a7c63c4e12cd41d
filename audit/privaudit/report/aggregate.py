"""From audits to the rows of a comparison: means over seeds and targets, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, nan
from statistics import fmean
from typing import Any

from privaudit.doubts.attacks import mute, one_verdict
from privaudit.report.choose import ordered, pick_attacks, pick_baselines
from privaudit.report.differences import adjusted, compared
from privaudit.report.evidence import Attacked, Evidence
from privaudit.report.names import run_names
from privaudit.report.rows import AttackSummary, Change, Row, Summary
from privaudit.statistics import table
from privaudit.statistics.inference import Audit, mean_of_audits
from privaudit.statistics.metric import Metric
from privaudit.statistics.metrics import Estimate, disjoint, mean_std
from privaudit.store.result import AuditResult, RunResult

LATER = "what follows"
"""Stands for the levels that a subject did not reach; its last one may have no name."""


def compare(
    results: Sequence[RunResult],
    baseline: str | None = None,
    sort: str | None = None,
    attacks: Sequence[str] = (),
) -> list[Row]:
    """One row for each run, subject and level, in run order or sorted.

    Args:
        results: the runs to compare.
        baseline: SUBJECT (its first level) or SUBJECT/LEVEL that rows are compared to; a run
            that lacks it is compared to the first run that has it. Without, each run is
            compared to its own first row.
        sort: one of `choose.ORDERS`.
        attacks: their labels; without, all.

    Raises:
        RecipeError: no run has that baseline or attack, or there is no such order.
    """
    evidence = dict(zip(run_names(results), map(Evidence, results), strict=True))
    runs = [_rows(name, run_evidence) for name, run_evidence in evidence.items()]
    runs = [run for run in runs if run]
    chosen = pick_baselines(runs, baseline)
    rows = [row for run_rows in runs for row in run_rows]
    rows = adjusted([_compared(row, chosen[row.run], evidence) for row in rows])
    rows += [row for name, run in evidence.items() for row in _failed(name, run.result)]
    return shown(rows, sort, attacks)


def shown(rows: Sequence[Row], sort: str | None = None, attacks: Sequence[str] = ()) -> list[Row]:
    """Of the rows of `compare` some attacks, in some order, without working them out again.

    The p-values are then adjusted for those attacks alone. What failed altogether stays at the end.

    Args:
        rows: of every attack, in run order.
        sort: as `compare` takes it, and so are `attacks`.
        attacks: see above.

    Raises:
        RecipeError: there is no such attack or order.
    """
    known = [row for row in rows if "" not in row.failed]
    failed = [row for row in rows if "" in row.failed]
    known = adjusted(pick_attacks(known, attacks)) if attacks else known
    return [*(ordered(known, sort) if sort else known), *failed]


def summarise(
    values: Sequence[float | Mapping[str, float] | None],
    seeds: Sequence[int] | None = None,
    *,
    shared: bool = True,
) -> Summary | None:
    """Mean and spread of one metric over audits of which no examples are known.

    The interval is that of `inference.mean_of_audits`. What is not known to differ is taken to be
    shared: targets of one seed, and all seeds unless told otherwise, audit the same examples, so
    that no number of them makes the interval narrower than that of one audit.

    Args:
        values: of the audits, plain numbers or intervals.
        seeds: of the audits; every audit counts for itself if not given.
        shared: whether all seeds audit the same examples, in the same roles.

    >>> summarise([0.5, 1.0]).mean
    0.75
    """
    if not values or any(value is None for value in values):
        return None
    intervals = [
        Estimate(value["value"], value["low"], value["high"])
        for value in values
        if isinstance(value, Mapping)
    ]
    if len(intervals) < len(values):
        numbers = [value["value"] if isinstance(value, Mapping) else value for value in values]
        return Summary(*mean_std([number for number in numbers if number is not None]))
    names = range(len(values)) if seeds is None else seeds
    pairs = zip(names, intervals, strict=True)
    audits = [Audit(seed, number, value) for number, (seed, value) in enumerate(pairs)]
    return within_shares(mean_summary(audits, shared=shared))


def mean_summary(audits: Sequence[Audit], *, shared: bool = False) -> Summary:
    """Mean, standard deviation and the interval of the mean, of any sign."""
    mean, std = mean_std([audit.estimate.value for audit in audits])
    estimate = mean_of_audits(audits, shared=shared)
    return Summary(mean, std, estimate.low, estimate.high)


def within_shares(summary: Summary, most: float = 1.0) -> Summary:
    """The summary with no limit outside of what a share can be."""
    if summary.low is None or summary.high is None:
        return summary
    return replace(summary, low=max(summary.low, 0.0), high=min(summary.high, most))


def _rows(run: str, evidence: Evidence) -> list[Row]:
    groups: dict[tuple[str, str], list[AuditResult]] = {}
    for audit in evidence.result.audits:
        groups.setdefault((audit.subject, audit.level), []).append(audit)
    canaries = (evidence.result.recipe.get("split") or {}).get("canaries")
    made_up = "" if canaries is None else f"{canaries['count']} {canaries['kind']}"
    return [replace(_row(run, audits, evidence), canaries=made_up) for audits in groups.values()]


def _failed(run: str, result: RunResult) -> list[Row]:
    """Rows of the subjects, or levels, of which nothing is known but that they failed."""
    there = {(audit.subject, audit.level) for audit in result.audits}
    begun = {audit.subject for audit in result.audits}
    names = dict.fromkeys(
        (
            failure.subject,
            failure.level or LATER * (failure.subject in begun and not failure.attack),
        )
        for failure in result.failures
    )
    nothing, failed = Summary(nan), frozenset({""})
    return [
        Row(run, *name, nan, nothing, nothing, 0, 0, attacks={}, failed=failed)
        for name in names
        if name not in there
    ]


def _row(run: str, audits: Sequence[AuditResult], evidence: Evidence) -> Row:
    networks = list({(audit.seed, audit.target): audit for audit in audits}.values())
    notes = dict.fromkeys(name for audit in networks for name in audit.notes)
    attacks = dict.fromkeys(audit.attack for audit in audits)
    first = audits[0]
    return Row(
        run,
        first.subject,
        first.level,
        density=fmean(audit.density for audit in networks),
        train=Summary(*mean_std([audit.train_accuracy for audit in networks])),
        test=Summary(*mean_std([audit.test_accuracy for audit in networks])),
        seeds=len({audit.seed for audit in audits}),
        models=len(networks),
        attacks={name: _attack(evidence.attacked(first, name)) for name in attacks},
        notes={name: summarise([audit.notes.get(name) for audit in networks]) for name in notes},
        promises=tuple(dict.fromkeys(a.promise for a in networks if a.promise is not None)),
        parameters=_mean([audit.parameters for audit in networks]),
        multiply_adds=_mean([audit.multiply_adds for audit in networks]),
        seconds=_mean([audit.seconds for audit in networks]),
        failed=frozenset(
            failure.attack
            for failure in evidence.result.failures
            if failure.attack and (failure.subject, failure.level) == (first.subject, first.level)
        ),
        matched=first.matched,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present and len(present) == len(values) else None


def _attack(attacked: Attacked) -> AttackSummary:
    return AttackSummary(
        {metric.name: _metric(metric, attacked) for metric in table.METRICS},
        audits=len(attacked.numbers),
        by_example=attacked.examples is not None,
        mute=all(mute(audit.metrics) for audit in attacked.results),
        one_verdict=sum(one_verdict(audit.metrics) for audit in attacked.results),
        left_out=_most(attacked, "left_out"),
        lacks=next((words for a in attacked.results if (words := _lack(a.metrics))), ""),
        offline=_most(attacked, "scored_offline"),
    )


def _lack(metrics: Mapping[str, Any]) -> str:
    return str(metrics.get("left_out", {}).get("lack", ""))


def _most(attacked: Attacked, rows: str) -> int:
    """The most rows of one kind that an audit counts; none where it says nothing of them."""
    return max(int(audit.metrics.get(rows, {"count": 0})["count"]) for audit in attacked.results)


def _metric(metric: Metric, attacked: Attacked) -> Summary | None:
    audits = attacked.audits(metric)
    if audits is None:
        return None
    if not attacked.has_intervals(metric):
        return Summary(*mean_std([audit.estimate.value for audit in audits]))
    summary = mean_summary(audits, shared=attacked.evidence.shared)
    return within_shares(summary, most=1.0 if metric.limits is None else inf)


def _compared(row: Row, baseline: Row, evidence: Mapping[str, Evidence]) -> Row:
    metric = table.changing()
    attacks = {}
    for name, attack in row.attacks.items():
        other = baseline.attacks.get(name)
        comparison = None
        same = (row.run, row.name) == (baseline.run, baseline.name)
        if other is not None and not same and not (attack.silent or other.silent):
            here, there = (evidence[r.run].attacked(r, name) for r in (row, baseline))
            comparison = compared(metric, here, there)
        attacks[name] = replace(attack, change=_change(attack, other), comparison=comparison)
    name = f"{baseline.run}: {baseline.name}" if baseline.run != row.run else baseline.name
    return replace(row, attacks=attacks, baseline=name)


def _change(attack: AttackSummary, baseline: AttackSummary | None) -> Change | None:
    metric = table.changing()
    here = attack.metrics[metric.name]
    there = None if baseline is None else baseline.metrics[metric.name]
    if here is None or there is None or attack.silent or (baseline and baseline.silent):
        return None
    if not disjoint(here.mean, here.std, there.mean, there.std):
        return None
    more_is_safer = metric.side == "lower"
    return "better" if (here.mean > there.mean) == more_is_safer else "worse"
