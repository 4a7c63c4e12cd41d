"""How many parameters are left against accuracy, and against what an attack finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from privaudit.figures.figure import Axis, Figure, Series
from privaudit.report.rows import Row, Summary
from privaudit.store.result import RunResult

_WIDE = 5  # times the sparsest's: from there on a log axis


def density(
    results: Sequence[RunResult],
    *,
    attack: str | None = None,
    metric: str | None = None,
    rows: Sequence[Row] | None = None,
) -> list[Figure]:
    """Density against test accuracy, and density against a metric: two figures of one axis.

    Args:
        results: the runs.
        attack: its label; None: the strongest.
        metric: its name; None: the AUC.
        rows: what `report.compare` makes of the runs, where that is known already: it takes time.

    Raises:
        RecipeError: the attack or the metric is not known, or no row has a number of it.
        StoreError: nothing was attacked.
    """
    known = known_points(results, attack, metric, "auc", rows)
    accuracy = Axis("test accuracy (%)", percent=True)
    return [
        _figure(known, "test accuracy", accuracy, lambda point: point.row.test),
        _figure(
            known,
            f"{known.what} of {known.attack}",
            known.axis,
            lambda point: point.value,
        ),
    ]


def _figure(known: Points, what: str, axis: Axis, of: Callable[[Point], Summary]) -> Figure:
    colours = known.colours
    lines, marks, bars = [], [], []
    for name, points in known.by_series().items():
        points = sorted(points, key=lambda point: -point.row.density)
        x = Bars([Summary(point.row.density) for point in points])
        y = Bars([of(point) for point in points])
        marks.append(points_series(name, points, x, y, colours[name]))
        bars.append(y)
        if len(set(x.values)) > 1:
            lines.append(Series("", "line", x.values, y.values, colour=colours[name], thin=True))
    densities = [point.row.density for point in known.points]
    wide = min(densities) > 0 and max(densities) > _WIDE * min(densities)
    sparsest = min(known.points, key=lambda point: point.row.density)
    densest = max(known.points, key=lambda point: point.row.density)
    return Figure(
        "density",
        f"Density and {what}",
        f"Points of {len(known.points)} subjects and levels: the share of nonzero parameters "
        f"across, {what} upwards, from {_spelled(densest, of, axis)} to "
        f"{_spelled(sparsest, of, axis)}.",
        Axis("nonzero parameters (%)", "log" if wide else "linear", percent=True),
        axis,
        (*lines, *reversed(marks)),
        notes=(*present(networks_note(known.points), bars_note(what, bars)), *known.notes),
    )


def _spelled(point: Point, of: Callable[[Point], Summary], axis: Axis) -> str:
    value = of(point).mean
    number = f"{100 * value:.1f} %" if axis.percent else f"{value:.3f}"
    return f"{number} at {100 * point.row.density:.2f} % ({point.row.name})"
