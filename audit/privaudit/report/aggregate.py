"""From audits to the rows of a comparison: means over seeds and targets, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import hypot
from statistics import fmean

from privaudit.doubts.attacks import mute
from privaudit.report.choose import ordered, pick_attacks, pick_baselines
from privaudit.report.rows import AttackSummary, Change, Row, Summary
from privaudit.statistics import table
from privaudit.statistics.metrics import Estimate, bootstrap_mean, disjoint, mean_std
from privaudit.store.result import AuditResult, RunResult


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
    runs = [_rows(name, result) for name, result in zip(run_names(results), results, strict=True)]
    chosen = pick_baselines(runs, baseline)
    rows = [_compared(row, chosen[row.run]) for run_rows in runs for row in run_rows]
    rows = pick_attacks(rows, attacks) if attacks else rows
    return ordered(rows, sort) if sort else rows


def summarise(
    values: Sequence[float | Mapping[str, float] | None], seeds: Sequence[int] | None = None
) -> Summary | None:
    """Mean and spread of one metric over n audits, plain numbers or intervals.

    The interval of the mean takes, on each side, the wider of two distances: that of
    `metrics.bootstrap_mean` over seeds (Student's t below 8 of them), which covers everything
    that differs between seeds (split, initialisation, training); and √Σ dᵢ² / S, dᵢ the mean
    distance to the limits of the audits of seed i, which is what the finite number of audited
    examples alone allows (Zou & Donner 2008, MOVER). With equal weights the first is the interval
    of Knapp & Hartung 2003, the second their safeguard against a few seeds that agree by chance.
    Targets of one seed share its examples, so they count as one draw; with a single seed each
    target has to count, and the interval is too narrow.

    Args:
        values: of the audits.
        seeds: of the audits; every audit counts for itself if not given.

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
    estimate = mean_estimate(intervals, seeds)
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))


def mean_estimate(values: Sequence[Estimate], seeds: Sequence[int] | None = None) -> Summary:
    """The mean of estimates with its interval, as `summarise`, of any sign."""
    mean, std = mean_std([value.value for value in values])
    clustered = seeds is not None and len(set(seeds)) > 1
    groups = list(seeds) if clustered and seeds is not None else list(range(len(values)))
    below = _pooled([value.value - value.low for value in values], groups)
    above = _pooled([value.high - value.value for value in values], groups)
    if len(set(groups)) > 1:
        spread = bootstrap_mean([value.value for value in values], groups)
        below = max(below, spread.value - spread.low)
        above = max(above, spread.high - spread.value)
    return Summary(mean, std, mean - below, mean + above)


def _pooled(distances: Sequence[float], groups: Sequence[int]) -> float:
    """√Σ dᵢ² / S over S groups, dᵢ the mean distance within one."""
    clusters: dict[int, list[float]] = {}
    for group, distance in zip(groups, distances, strict=True):
        clusters.setdefault(group, []).append(distance)
    return hypot(*(fmean(cluster) for cluster in clusters.values())) / len(clusters)


def run_names(results: Sequence[RunResult]) -> list[str]:
    """The runs' names, numbered where several share one."""
    names = [result.name for result in results]
    return [
        f"{name} #{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def _rows(run: str, result: RunResult) -> list[Row]:
    groups: dict[tuple[str, str], list[AuditResult]] = {}
    for audit in result.audits:
        groups.setdefault((audit.subject, audit.level), []).append(audit)
    canaries = (result.recipe.get("split") or {}).get("canaries")
    made_up = "" if canaries is None else f"{canaries['count']} {canaries['kind']}"
    return [replace(_row(run, audits), canaries=made_up) for audits in groups.values()]


def _row(run: str, audits: Sequence[AuditResult]) -> Row:
    networks = list({(audit.seed, audit.target): audit for audit in audits}.values())
    notes = dict.fromkeys(name for audit in networks for name in audit.notes)
    attacks: dict[str, list[AuditResult]] = {}
    for audit in audits:
        attacks.setdefault(audit.attack, []).append(audit)
    return Row(
        run,
        audits[0].subject,
        audits[0].level,
        density=fmean(audit.density for audit in networks),
        train=Summary(*mean_std([audit.train_accuracy for audit in networks])),
        test=Summary(*mean_std([audit.test_accuracy for audit in networks])),
        seeds=len({audit.seed for audit in audits}),
        models=len(networks),
        attacks={name: _attack(its_audits) for name, its_audits in attacks.items()},
        notes={name: summarise([audit.notes.get(name) for audit in networks]) for name in notes},
        promises=tuple(dict.fromkeys(a.promise for a in networks if a.promise is not None)),
        parameters=_mean([audit.parameters for audit in networks]),
        multiply_adds=_mean([audit.multiply_adds for audit in networks]),
        seconds=_mean([audit.seconds for audit in networks]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present and len(present) == len(values) else None


def _attack(audits: Sequence[AuditResult]) -> AttackSummary:
    seeds = [audit.seed for audit in audits]
    return AttackSummary(
        {
            metric.name: summarise([metric.read(audit.metrics) for audit in audits], seeds)
            for metric in table.METRICS
        },
        audits=len(audits),
        mute=all(mute(audit.metrics) for audit in audits),
    )


def _compared(row: Row, baseline: Row) -> Row:
    attacks = {
        name: replace(attack, change=_change(attack, baseline.attacks.get(name)))
        for name, attack in row.attacks.items()
    }
    name = f"{baseline.run}: {baseline.name}" if baseline.run != row.run else baseline.name
    return replace(row, attacks=attacks, baseline=name)


def _change(attack: AttackSummary, baseline: AttackSummary | None) -> Change | None:
    metric = table.changing()
    here = attack.metrics[metric.name]
    there = None if baseline is None else baseline.metrics[metric.name]
    if (
        attack.mute
        or here is None
        or there is None
        or not disjoint(here.mean, here.std, there.mean, there.std)
    ):
        return None
    more_is_safer = metric.side == "lower"
    return "better" if (here.mean > there.mean) == more_is_safer else "worse"
