"""Accuracy against what an attack finds: the figure of Gonon et al., with its controls."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.figures.chosen import (
    Bars,
    Point,
    Points,
    bars_note,
    known_points,
    networks_note,
    points_series,
    present,
)
from privaudit.figures.figure import NEUTRAL, Axis, Figure, Series
from privaudit.report.rows import Row
from privaudit.statistics.metric import Metric
from privaudit.store.result import RunResult

_GUESS = {"defense": 1.0, "auc": 0.5, "balanced_accuracy": 0.5, "best_balanced_accuracy": 0.5}
"""Where an attacker guesses: away from it on either side is a leak."""


def tradeoff(
    results: Sequence[RunResult],
    *,
    attack: str | None = None,
    metric: str | None = None,
    rows: Sequence[Row] | None = None,
) -> list[Figure]:
    """Test accuracy against a metric of one attack, a point for each subject and level.

    With the metric "defense" it is the figure of Gonon et al. 2023, "Can sparsity improve the
    privacy of neural networks?". Dense networks stopped at a subject's accuracy have its colour,
    hollow, and a thread to it: what is left between the two is not owed to accuracy.

    Args:
        results: the runs.
        attack: its label; None: the strongest.
        metric: its name; None: defense, or the AUC where the attack does not decide.
        rows: what `report.compare` makes of the runs, where that is known already: it takes time.

    Raises:
        RecipeError: the attack or the metric is not known, or no row has a number of it.
        StoreError: nothing was attacked.
    """
    known = known_points(results, attack, metric, "defense", rows)
    colours = known.colours
    series, upright, lying = [], [], []
    for name, points in known.by_series().items():
        x, y = Bars([point.row.test for point in points]), Bars([point.value for point in points])
        series.append(points_series(name, points, x, y, colours[name]))
        upright.append(y)
        lying.append(x)
    front = _front(known)
    notes = present(
        networks_note(known.points),
        bars_note(known.what, upright),
        bars_note("test accuracy", lying),
        "Hollow marks: dense networks stopped at a subject's test accuracy, joined to it."
        if any(point.matched for point in known.points)
        else "",
        "Pareto front: no other mean is both more accurate and nearer to what guessing finds; "
        "error bars left aside."
        if front and known.metric.name in _GUESS
        else "",
    )
    figure = Figure(
        "tradeoff",
        f"Test accuracy and {known.what} of {known.attack}",
        _told(known),
        Axis("test accuracy (%)", percent=True),
        known.axis,
        (*_threads(known, colours), *front, *reversed(series)),
        notes=(*notes, *known.notes),
    )
    return [figure]


def _threads(known: Points, colours: dict[str, int]) -> list[Series]:
    """From each control to its subject."""
    subjects = {(point.name, point.row.level): point for point in known.points}
    return [
        Series(
            "",
            "line",
            (subject.row.test.mean, control.row.test.mean),
            (subject.value.mean, control.value.mean),
            colour=colours[control.name],
            thin=True,
        )
        for control in known.points
        if control.matched and (subject := subjects.get((control.matched, control.row.level)))
    ]


def _front(known: Points) -> list[Series]:
    """The points that no other one beats in accuracy and leak, by means."""
    leaks = {id(point): _leak(known.metric, point) for point in known.points}
    if None in leaks.values():
        return []

    def rank(point: Point) -> tuple[float, float]:
        return -point.row.test.mean, leaks[id(point)] or 0.0

    best: list[Point] = []
    for point in sorted(known.points, key=rank):
        if not best or rank(point)[1] < rank(best[-1])[1]:
            best.append(point)
    best = best[::-1]
    if len(best) < 2:
        return []
    x, y = [point.row.test.mean for point in best], [point.value.mean for point in best]
    names = tuple(point.row.name for point in best)
    return [
        Series("Pareto front", "line", tuple(x), tuple(y), names=names, colour=NEUTRAL, dashed=True)
    ]


def _leak(metric: Metric, point: Point) -> float | None:
    """How much a point gives away, the less the better; None where that cannot be told."""
    guess = _GUESS.get(metric.name)
    if guess is not None:
        return abs(point.value.mean - guess)
    return {"<": point.value.mean, ">": -point.value.mean, None: None}[metric.gate]


def _told(known: Points) -> str:
    order = sorted(known.points, key=lambda point: point.value.mean)
    scale = known.metric.scale

    def spelled(point: Point) -> str:
        number = f"{scale * point.value.mean:.{known.metric.digits}f}{' %' * (scale == 100)}"
        return f"{number} at {100 * point.row.test.mean:.1f} % ({point.name} {point.row.level})"

    return (
        f"Points of {len(known.points)} subjects and levels: test accuracy across, "
        f"{known.what} of {known.attack} upwards. The lowest is {spelled(order[0])}, the "
        f"highest {spelled(order[-1])}."
    ).replace(" )", ")")
