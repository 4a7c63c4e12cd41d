"""The plots of a page: drawings by `privaudit.figures`, with the numbers behind each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from privaudit.figures.figure import Axis, Figure, Series
from privaudit.page.blocks import Plot, Table
from privaudit.page.words import name, sentence

_MOST = 12
"""Points of a line that its table holds; the drawing holds all."""


def plot(figure: Figure, drawing: str) -> Plot:
    """A drawn figure as a block of the page.

    Args:
        figure: as `safe` makes it.
        drawing: the same, as SVG.
    """
    return Plot(figure.title, figure.alternative, drawing, figure.notes, numbers(figure))


def safe(figure: Figure) -> Figure:
    """The figure with a stranger's words shortened, on one line, and without control characters."""
    return replace(
        figure,
        title=sentence(figure.title),
        alternative=sentence(figure.alternative),
        x=replace(figure.x, label=name(figure.x.label)),
        y=replace(figure.y, label=name(figure.y.label)),
        series=tuple(
            replace(one, label=name(one.label), names=tuple(map(name, one.names)))
            for one in figure.series
        ),
        zones=tuple(replace(zone, label=name(zone.label)) for zone in figure.zones),
        notes=tuple(map(sentence, figure.notes)),
    )


def numbers(figure: Figure) -> Table:
    """What a figure draws, as a table: every named point and bar, and some of each line."""
    rows = [row for series in figure.series for row in _rows(series, figure.x, figure.y)]
    rows += [
        (zone.label, "cannot be told", f"{_number(zone.low, figure.x)} to "
         f"{_number(zone.high, figure.x)}", "", "")
        for zone in figure.zones
    ]  # fmt: skip
    cut = any(len(_shown(series)) < len(series.x) for series in figure.series)
    some = f" (at most {_MOST} points of each line)" if cut else ""
    heads = ("series", "point", _head(figure.x), _head(figure.y), "interval")
    return Table(f"{figure.title}: the numbers{some}", heads, tuple(rows), words=2)


def _rows(series: Series, x: Axis, y: Axis) -> Iterator[tuple[str, ...]]:
    for index in _shown(series):
        yield (
            series.label,
            series.names[index] if series.names else "",
            _number(series.x[index], x) + _limits(series.x_low, series.x_high, index, x),
            _number(series.y[index], y),
            _limits(series.low, series.high, index, y).strip(),
        )


def _shown(series: Series) -> Sequence[int]:
    """Which points its table holds: all, or some of a line, its ends among them."""
    count = len(series.x)
    if series.names or series.mark in ("points", "bars") or count <= _MOST:
        return range(count)
    return [round(step * (count - 1) / (_MOST - 1)) for step in range(_MOST)]


def _limits(
    low: Sequence[float] | None, high: Sequence[float] | None, index: int, axis: Axis
) -> str:
    if low is None or high is None:
        return ""
    return f" [{_number(low[index], axis)}, {_number(high[index], axis)}]"


def _number(value: float, axis: Axis) -> str:
    return f"{100 * value:.4g}" if axis.percent else f"{value:.4g}"


def _head(axis: Axis) -> str:
    return f"{axis.label}, %" if axis.percent and "%" not in axis.label else axis.label
