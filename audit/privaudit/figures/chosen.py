"""What every plot begins with: which attack, which metric, and the points that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from privaudit.errors import RecipeError, StoreError
from privaudit.explain.points import clouds
from privaudit.figures.figure import Axis, Series
from privaudit.messages import unknown
from privaudit.report.aggregate import compare
from privaudit.report.choose import pick_attacks, pick_metrics
from privaudit.report.doubtful import doubt_lines
from privaudit.report.escape import plain
from privaudit.report.names import run_names
from privaudit.report.rows import Row, Summary
from privaudit.statistics import table
from privaudit.statistics.metric import Metric
from privaudit.store.result import RunResult


@dataclass(frozen=True)
class Point:
    """One row of a report as a point.

    Attributes:
        row: of the report.
        name: of its series: the subject's, with its run's where there are several.
        matched: of a dense control, the name of the subject whose test accuracy it has.
        value: of the metric.
    """

    row: Row
    name: str
    matched: str
    value: Summary


@dataclass(frozen=True)
class Points:
    """All rows of which one attack knows one metric.

    Attributes:
        attack: its label.
        metric: which.
        points: in the report's order.
        notes: about rows that are left out, and about doubts.
    """

    attack: str
    metric: Metric
    points: tuple[Point, ...]
    notes: tuple[str, ...]

    @property
    def axis(self) -> Axis:
        """Of the metric."""
        share = self.metric.scale == 100
        return Axis(f"{self.what} of {plain(self.attack)}{' (%)' * share}", percent=share)

    @property
    def what(self) -> str:
        """The metric in words."""
        return " ".join(self.metric.heading).replace(" %", "", int(self.metric.scale == 100))

    @property
    def colours(self) -> dict[str, int]:
        """The colour of each series; a control has that of its subject."""
        names = dict.fromkeys(point.name for point in self.points if not point.matched)
        numbers = {name: number for number, name in enumerate(names)}
        for point in self.points:
            if point.matched:
                numbers[point.name] = numbers.get(point.matched, len(numbers))
        return {name: _past_black(number) for name, number in numbers.items()}

    def by_series(self) -> dict[str, list[Point]]:
        """The points of each series, in order."""
        groups: dict[str, list[Point]] = {}
        for point in self.points:
            groups.setdefault(point.name, []).append(point)
        return groups


def strongest(results: Sequence[RunResult]) -> str:
    """The attack of the highest mean AUC over all networks; if none is known, the first.

    Raises:
        StoreError: nothing was attacked.
    """
    known = clouds(results)
    if known:
        return known[0].attack
    first = next((audit.attack for result in results for audit in result.audits), None)
    if first is None:
        raise StoreError("there is nothing to plot: these runs hold no audit")
    return first


def attack_labels(results: Sequence[RunResult], wanted: str | None) -> list[str]:
    """The labels of all attacks, in run order.

    Raises:
        RecipeError: the wanted one is not among them.
    """
    every = [audit.attack for result in results for audit in result.audits]
    every += [failure.attack for result in results for failure in result.failures]
    labels = [label for label in dict.fromkeys(every) if label]
    if wanted is not None and wanted not in labels:
        raise RecipeError(f"--attack: {unknown('attack', wanted, labels)}")
    return labels


def known_points(
    results: Sequence[RunResult],
    attack: str | None,
    metric: str | None,
    default: str,
    rows: Sequence[Row] | None,
) -> Points:
    """The rows of which the attack knows the metric.

    Args:
        results: the runs.
        attack: its label; None: the strongest.
        metric: its name; None: `default`, or the AUC where the attack does not decide.
        default: name of a metric.
        rows: what `compare` makes of the runs, where that is known already.

    Raises:
        RecipeError: the attack or the metric is not known, or no row has a number of it.
        StoreError: nothing was attacked.
    """
    attack_labels(results, attack)
    label = strongest(results) if attack is None else attack
    rows = pick_attacks(compare(results) if rows is None else rows, [label])
    wanted = pick_metrics([metric] if metric else [], [default])
    if len(wanted) > 1:
        raise RecipeError(f"--metric takes one name to plot, not {len(wanted)}: {metric}")
    chosen = table.named(wanted)[0]
    if metric is None and not any(_value(row, label, chosen) for row in rows):
        chosen = table.named(["auc"])[0]
    matched = _matched(results)
    points, left_out = [], []
    several = len({row.run for row in rows}) > 1
    for row in rows:
        value = _value(row, label, chosen)
        if value is None:
            left_out.append(f"{_name(row, row.name, several)} ({_why(row, label)})")
            continue
        subject = matched.get((row.run, row.subject), "")
        points.append(
            Point(
                row,
                _name(row, row.subject, several),
                subject and _name(row, subject, several),
                value,
            )
        )
    if not points:
        raise RecipeError(
            f"there is nothing to plot: no network has a {chosen.name} of {plain(label)}; choose "
            "another --metric or --attack"
        )
    notes = [f"Left out: {', '.join(left_out)}."] if left_out else []
    return Points(label, chosen, tuple(points), (*notes, *doubt_lines(results, plain)))


class Bars:
    """Summaries as a series has them.

    Attributes:
        values: (n,) means.
        low: (n,) lower 95 % limits, where all have any; otherwise one standard deviation below;
            None with single networks, which have neither.
        high: (n,) likewise.
        interval: whether they are limits.
    """

    def __init__(self, every: Sequence[Summary]) -> None:
        self.values = tuple(one.mean for one in every)
        self.interval = all(one.low is not None and one.high is not None for one in every)
        self.low: tuple[float, ...] | None = None
        self.high: tuple[float, ...] | None = None
        if self.interval:
            self.low = tuple(one.mean if one.low is None else one.low for one in every)
            self.high = tuple(one.mean if one.high is None else one.high for one in every)
        elif any(one.std for one in every):
            self.low = tuple(one.mean - (one.std or 0.0) for one in every)
            self.high = tuple(one.mean + (one.std or 0.0) for one in every)


def points_series(name: str, points: Sequence[Point], x: Bars, y: Bars, colour: int) -> Series:
    """Points with error bars, one for each row; controls are hollow."""
    return Series(
        name,
        "points",
        x.values,
        y.values,
        low=y.low,
        high=y.high,
        x_low=x.low,
        x_high=x.high,
        names=tuple(point.row.name for point in points),
        colour=colour,
        hollow=any(point.matched for point in points),
    )


def networks_note(points: Sequence[Point]) -> str:
    """What a point is the mean of."""
    models = sorted({point.row.models for point in points})
    seeds = sorted({point.row.seeds for point in points})
    if models == [1]:
        return "Each point is one network."
    return f"Each point is the mean over {_range(models)} networks of {_range(seeds)} " + (
        "seed." if seeds == [1] else "seeds."
    )


def bars_note(what: str, bars: Sequence[Bars]) -> str:
    """What error bars are; empty where there are none."""
    drawn = [one for one in bars if one.low is not None]
    if not drawn:
        return ""
    if all(one.interval for one in drawn):
        return f"Error bars of {what}: the 95 % interval of the mean, as in the report."
    return f"Error bars of {what}: one standard deviation over networks."


def present(*sentences: str) -> tuple[str, ...]:
    """Those that say something."""
    return tuple(filter(None, sentences))


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _name(row: Row, name: str, several: bool) -> str:
    return f"{row.run}: {name}" if several else name


def _past_black(number: int) -> int:
    """The colour of the n-th series: the palette's black is kept for what is no result."""
    return number + number // 7


def _value(row: Row, attack: str, metric: Metric) -> Summary | None:
    summary = row.attacks.get(attack)
    if summary is None or summary.mute or isnan(row.density):
        return None
    return summary.metrics[metric.name]


def _why(row: Row, attack: str) -> str:
    if isnan(row.density) or attack in row.failed:
        return "failed"
    if attack not in row.attacks:
        return "not attacked so"
    return "the attack says nothing" if row.attacks[attack].mute else "not known"


def _matched(results: Sequence[RunResult]) -> dict[tuple[str, str], str]:
    """By run and subject of each control, the subject that it was matched to."""
    return {
        (run, audit.subject): audit.matched
        for run, result in zip(run_names(results), results, strict=True)
        for audit in result.audits
        if audit.matched
    }
