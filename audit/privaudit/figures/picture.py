"""A figure as PDF or PNG, by matplotlib, which the extra `plot` brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from math import isfinite
from typing import Any, Literal

from privaudit.errors import RecipeError
from privaudit.figures.figure import Axis, Figure, Series
from privaudit.figures.palette import colour, shape
from privaudit.figures.scale import Span, held_steps, spans, staircase
from privaudit.figures.words import wrapped
from privaudit.report.escape import plain

_SHAPES = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "cross": "P", "down": "v"}
_DOTS = 200  # per inch of a PNG
_SIZE = 8.0  # of the font, in points
_LEAST = 0.6  # of the height that was asked for, the plot keeps

_Picture = tuple[Any, Span, Span]


def picture(
    figure: Figure, format: Literal["pdf", "png"], *, inches: tuple[float, float] = (5.0, 3.6)
) -> bytes:
    """A file's content.

    Args:
        figure: what to draw.
        format: of the file.
        inches: width and height, or more height where the legend needs it.

    Raises:
        RecipeError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise RecipeError(
            f"a plot in .{format} needs matplotlib: pip install 'privaudit[plot]', or name a file "
            "that ends in .svg or .tex"
        ) from error
    settings: dict[Any, Any] = {"font.size": _SIZE, "pdf.fonttype": 42, "text.usetex": False}
    settings |= {"text.parse_math": False}  # a stranger's $ is a dollar
    with rc_context(settings):
        canvas = Canvas(figsize=inches, layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.add_subplot()
        x, y = spans(figure)
        handles = [
            (axes.axvspan(zone.low, zone.high, color="0.88", lw=0, zorder=0), zone.label)
            for zone in figure.zones
        ]
        for series in figure.series:
            handle = _MARKS[series.mark](series, (axes, x, y), colour(series.colour) or "black")
            handles.append((handle, series.label))
        _frame(axes.xaxis, axes.set_xscale, axes.set_xlim, axes.set_xlabel, figure.x, x)
        _frame(axes.yaxis, axes.set_yscale, axes.set_ylim, axes.set_ylabel, figure.y, y)
        axes.grid(alpha=0.2)
        named = [(handle, _label(label, inches[0])) for handle, label in handles[::-1] if label]
        if named:
            widest = max(len(line) for _, label in named for line in label.split("\n"))
            columns = max(int(inches[0] * 15 / (widest + 8)), 1)
            lines = sum(label.count("\n") + 1 for _, label in named) / columns
            needed = inches[1] * _LEAST + (lines + 3) * 1.5 * _SIZE / 72
            canvas.set_size_inches(inches[0], max(inches[1], needed))
            canvas.legend(
                [handle for handle, _ in named],
                [label for _, label in named],
                loc="outside lower center",
                ncols=columns,
                frameon=False,
            )
        content = BytesIO()
        dated = {"CreationDate": None} if format == "pdf" else {}
        canvas.savefig(content, format=format, dpi=_DOTS, metadata=dated)
    return content.getvalue()


def _frame(
    ticks: Any,
    set_scale: Callable[[str], object],
    set_limits: Callable[[float, float], object],
    set_label: Callable[[str], object],
    axis: Axis,
    span: Span,
) -> None:
    set_scale(axis.scale)
    set_limits(span.low, span.high)
    set_label(plain(axis.label))
    values = span.ticks(6)
    ticks.set_ticks(values, labels=[span.text(value, values) for value in values])
    ticks.set_ticks([], minor=True)


def _label(text: str, inches: float) -> str:
    """A legend's words; matplotlib leaves out one that begins with _."""
    words = "\n".join(wrapped(text, inches * 72 * 0.8, _SIZE, 3))
    return f"\N{HAIR SPACE}{words}" if words.startswith("_") else words


def _stroke(series: Series, points: list[tuple[float, float]], to: _Picture, ink: str) -> Any:
    axes, x, y = to
    mark = bool(series.label) and not series.thin and colour(series.colour) is not None
    (line,) = axes.plot(
        [x.held(point[0]) for point in points],
        [y.held(point[1]) for point in points],
        color=ink,
        linestyle="--" if series.dashed else "-",
        linewidth=0.6 if series.thin else 1.4,
        alpha=0.5 if series.thin else 1.0,
        marker=_SHAPES[shape(series.colour)] if mark else None,
        markevery=max(len(points) // 6, 1),
        markersize=4,
    )
    return line


def _line(series: Series, to: _Picture, ink: str) -> Any:
    return _stroke(series, list(zip(series.x, series.y, strict=True)), to, ink)


def _steps(series: Series, to: _Picture, ink: str) -> Any:
    return _stroke(series, held_steps(series), to, ink)


def _points(series: Series, to: _Picture, ink: str) -> Any:
    axes = to[0]
    drawn = axes.errorbar(
        series.x,
        series.y,
        xerr=_reach(series.x, series.x_low, series.x_high),
        yerr=_reach(series.y, series.low, series.high),
        color=ink,
        linestyle="none",
        linewidth=0.9,
        marker=_SHAPES[shape(series.colour)],
        markersize=4.5,
        markerfacecolor="none" if series.hollow else ink,
    )
    return drawn[0]


def _band(series: Series, to: _Picture, ink: str) -> Any:
    axes, _, y = to
    low, high = ([y.held(v) for v in ends or series.y] for ends in (series.low, series.high))
    return axes.fill_between(series.x, low, high, color=ink, alpha=0.16, linewidth=0)


def _bars(series: Series, to: _Picture, ink: str) -> Any:
    corners = staircase(series)
    x, y = [corner[0] for corner in corners], [corner[1] for corner in corners]
    if series.hollow:
        return to[0].fill(x, y, fill=False, edgecolor=ink, linewidth=1.2)[0]
    return to[0].fill(x, y, color=ink, alpha=0.4, linewidth=0)[0]


_MARKS: Mapping[str, Callable[[Series, _Picture, str], Any]] = {
    "line": _line,
    "steps": _steps,
    "points": _points,
    "band": _band,
    "bars": _bars,
}


def _reach(
    values: tuple[float, ...], low: tuple[float, ...] | None, high: tuple[float, ...] | None
) -> list[list[float]] | None:
    if low is None or high is None:
        return None
    gaps = [
        [value - end for value, end in zip(values, low, strict=True)],
        [end - value for value, end in zip(values, high, strict=True)],
    ]
    return [[max(gap, 0.0) if isfinite(gap) else 0.0 for gap in side] for side in gaps]
