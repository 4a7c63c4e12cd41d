"""The plots of a page: drawings by `privaudit.figures`, with the numbers behind each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from privaudit.errors import RecipeError, StoreError
from privaudit.figures import kinds
from privaudit.figures.figure import Axis, Figure, Series
from privaudit.figures.svg import svg
from privaudit.page.blocks import Block, Plot, Points, Table
from privaudit.page.findings import Findings
from privaudit.page.words import name, sentence
from privaudit.report.doubtful import doubt_lines
from privaudit.report.escape import plain
from privaudit.store.result import RunResult

_PLOTS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("tradeoff", {}),
    ("tradeoff", {"metric": "auc"}),
    ("roc", {}),
    ("density", {}),
    ("scores", {}),
    ("curves", {}),
)
"""Kinds, in the order of the page, and what is chosen of each."""

_WIDTH, _HEIGHT = 400, 310
"""Of a drawing, in pixels: on a phone it shrinks a little, and can still be read."""

_MOST = 12
"""Points of a line that its table holds; the drawing holds all."""


def plots(findings: Findings) -> list[Block]:
    """Every plot that the runs hold the numbers of, and why the others are not drawn."""
    figures: dict[Figure, None] = {}
    untold: dict[str, None] = {}
    said = _said(findings.results)
    for kind, choices in _PLOTS:
        try:
            made = kinds.figure(findings.results, kind, rows=findings.rows, **choices)
        except (RecipeError, StoreError) as problem:
            untold[sentence(str(problem))] = None
            continue
        figures |= dict.fromkeys(safe(one, said) for one in made)
    blocks: list[Block] = [
        Plot(
            one.title,
            one.alternative,
            svg(one, width=_WIDTH, height=_HEIGHT),
            one.notes,
            numbers(one),
        )
        for one in figures
    ]
    if untold:
        blocks.append(Points("Not drawn", tuple(("", line) for line in untold)))
    return blocks


def _said(results: Sequence[RunResult]) -> frozenset[str]:
    """What every plot of these runs would repeat below it, and the verdict says already."""
    groups = [results, *([result] for result in results)]
    return frozenset(line for group in groups for line in doubt_lines(group, plain))


def safe(figure: Figure, said: frozenset[str] = frozenset()) -> Figure:
    """The figure with a stranger's words shortened, on one line, and without control characters.

    Args:
        figure: as it was made.
        said: notes that the page holds elsewhere.
    """
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
        notes=tuple(sentence(note) for note in figure.notes if note not in said),
    )


def numbers(figure: Figure) -> Table:
    """What a figure draws, as a table: every named point and bar, and some of each line."""
    shown = _told(figure.series)
    rows = [row for series in shown for row in _rows(series, figure.x, figure.y)]
    rows += [
        (zone.label, "cannot be told", f"{_number(zone.low, figure.x)} to "
         f"{_number(zone.high, figure.x)}", "", "")
        for zone in figure.zones
    ]  # fmt: skip
    cut = any(len(_shown(series)) < len(series.x) for series in shown)
    some = f" (at most {_MOST} points of each line)" if cut else ""
    heads = ("series", "point", _head(figure.x), _head(figure.y), "interval")
    return Table(f"{figure.title}: the numbers{some}", heads, tuple(rows), words=2)


def _told(every: Sequence[Series]) -> list[Series]:
    """The series that stand for themselves: a band belongs to its line, thin lines to others."""
    bands = {(series.colour, series.x): series for series in every if series.mark == "band"}
    lines = [series for series in every if series.mark != "band" and not series.thin]
    held = {(series.colour, series.x) for series in lines}
    with_bands = [
        replace(line, low=bands[key].low, high=bands[key].high)
        if (key := (line.colour, line.x)) in bands
        else line
        for line in lines
    ]
    return [*with_bands, *(band for key, band in bands.items() if key not in held)]


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
    return f"{100 * value:.2f}" if axis.percent else f"{value:.4g}"


def _head(axis: Axis) -> str:
    return f"{axis.label}, %" if axis.percent and "%" not in axis.label else axis.label
