"""A figure as a tikzpicture, for a paper: in its fonts and its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite

from privaudit.figures.figure import Axis, Figure, Series, Zone
from privaudit.figures.palette import colour, shape
from privaudit.figures.scale import Span, held_steps, spans, staircase
from privaudit.report.escape import latex

_Spans = tuple[Span, Span]

_TURNED = "every mark/.append style={rotate=180}"

_SHAPES = {
    "circle": ("*", "o"),
    "square": ("square*", "square"),
    "triangle": ("triangle*", "triangle"),
    "diamond": ("diamond*", "diamond"),
    "cross": ("+", "x"),
    "down": (f"triangle*, {_TURNED}", f"triangle, {_TURNED}"),
}
"""Filled, and hollow."""

_LONG = 20  # characters of a label, from there on the legend has one column

_HEAD = r"""% In the preamble: \usepackage[utf8]{inputenc} \usepackage[T1]{fontenc}
%   \usepackage{pgfplots} \pgfplotsset{compat=1.16}
% Letters beyond those of Latin scripts need LuaLaTeX or XeLaTeX and a font that has them."""


def pgfplots(figure: Figure) -> str:
    """A complete tikzpicture, one column wide; what to load stands in a comment on top.

    Title and notes are comments: a paper has a caption.
    """
    axes = spans(figure)
    comments = [figure.title, figure.alternative, *figure.notes]
    labels = [*(one.label for one in figure.series), *(zone.label for zone in figure.zones)]
    options = [
        r"width=\linewidth, height=0.8\linewidth, scale only axis=false",
        r"font=\footnotesize, legend cell align=left, grid=major, grid style={black!12}",
        "reverse legend",
        f"legend columns={1 if max(map(len, labels), default=0) > _LONG else 2}",
        r"legend style={at={(0.5,-0.24)}, anchor=north, draw=none, font=\footnotesize}",
        *_axis("x", figure.x, axes[0]),
        *_axis("y", figure.y, axes[1]),
    ]
    lines = [
        _HEAD,
        *(f"% {latex(line)}" for line in comments),
        r"\begin{tikzpicture}",
        *_colours(figure.series),
        r"\begin{axis}[",
        *(f"  {option}," for option in options),
        "]",
        *(line for zone in figure.zones for line in _zone(zone, axes)),
        *(line for series in figure.series for line in _drawn(series, axes)),
        r"\end{axis}",
        r"\end{tikzpicture}",
    ]
    return "\n".join(lines) + "\n"


def _axis(name: str, axis: Axis, span: Span) -> list[str]:
    options = [
        f"{name}label={{{latex(axis.label)}}}",
        f"{name}min={_number(span, span.low)}, {name}max={_number(span, span.high)}",
    ]
    if axis.scale == "log":
        options += [f"{name}mode=log"]
        ticks = ",".join(_number(span, tick) for tick in span.ticks(6))
        options += [f"{name}tick={{{ticks}}}, log ticks with fixed point"]
    return options


def _colours(series: Sequence[Series]) -> list[str]:
    every = {one.colour: colour(one.colour) for one in series}
    return [
        rf"\definecolor{{pa{number}}}{{HTML}}{{{rgb.removeprefix('#') if rgb else '000000'}}}"
        for number, rgb in every.items()
    ]


def _zone(zone: Zone, axes: _Spans) -> list[str]:
    y = axes[1]
    corners = [(zone.low, y.low), (zone.high, y.low), (zone.high, y.high), (zone.low, y.high)]
    style = "draw=black!30, very thin, fill=black, fill opacity=0.1, area legend"
    return [
        rf"\addplot[{style}] coordinates {{{_pairs(corners, axes)}}} -- cycle;",
        *_entry(zone.label),
    ]


def _drawn(series: Series, axes: _Spans) -> list[str]:
    own = "" if series.label else ", forget plot"
    plot = _MARKS[series.mark](series, axes, f"pa{series.colour}", own)
    return [*plot, *_entry(series.label)] if plot else []


def _entry(label: str) -> list[str]:
    return [rf"\addlegendentry{{{latex(label)}}}"] if label else []


def _line(series: Series, axes: _Spans, ink: str, own: str) -> list[str]:
    points = list(zip(series.x, series.y, strict=True))
    return _stroke(series, points, axes, ink, own)


def _steps(series: Series, axes: _Spans, ink: str, own: str) -> list[str]:
    return _stroke(series, held_steps(series), axes, ink, own)


def _stroke(
    series: Series, points: Sequence[tuple[float, float]], axes: _Spans, ink: str, own: str
) -> list[str]:
    width = "very thin, opacity=0.5" if series.thin else "thick"
    mark = ""
    if series.label and not series.thin and colour(series.colour):
        every = max(len(points) // 6, 1)
        mark = f", mark={_SHAPES[shape(series.colour)][0]}, mark repeat={every}, mark size=1.6pt"
    dashes = ", dashed" * series.dashed
    style = f"{ink}, {width}{dashes}, mark options={{solid}}{mark or ', no marks'}{own}"
    return [rf"\addplot[{style}] coordinates {{{_pairs(points, axes)}}};"]


def _points(series: Series, axes: _Spans, ink: str, own: str) -> list[str]:
    mark = _SHAPES[shape(series.colour)][series.hollow]
    lines = [
        rf"\addplot[{ink}, only marks, mark={mark}, mark size=2.1pt{own}, error bars/.cd, "
        "x dir=both, x explicit, y dir=both, y explicit, error mark=none, "
        f"error bar style={{{ink}, thin, solid}}] coordinates {{"
    ]
    x_low, x_high = series.x_low or series.x, series.x_high or series.x
    low, high = series.low or series.y, series.high or series.y
    for n, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if not (isfinite(x) and isfinite(y)):
            continue
        up = f"({_gap(axes[0], x, x_high[n])},{_gap(axes[1], y, high[n])})"
        down = f"({_gap(axes[0], x_low[n], x)},{_gap(axes[1], low[n], y)})"
        name = f" % {latex(series.names[n])}" if series.names else ""
        lines.append(f"  {_pairs([(x, y)], axes)} += {up} -= {down}{name}")
    return [*lines, "};"]


def _band(series: Series, axes: _Spans, ink: str, own: str) -> list[str]:
    high = list(zip(series.x, series.high or series.y, strict=True))
    low = list(zip(series.x, series.low or series.y, strict=True))
    style = f"draw=none, fill={ink}, fill opacity=0.16, area legend{own}"
    outline = _pairs([*high, *low[::-1]], axes)
    return [rf"\addplot[{style}] coordinates {{{outline}}} -- cycle;"]


def _bars(series: Series, axes: _Spans, ink: str, own: str) -> list[str]:
    filled = f"draw={ink}!40, very thin, fill={ink}, fill opacity=0.4"
    look = f"{ink}, thick, fill=none" if series.hollow else filled
    outline = _pairs(staircase(series), axes)
    return [rf"\addplot[{look}, area legend{own}] coordinates {{{outline}}} -- cycle;"]


_MARKS: Mapping[str, Callable[[Series, _Spans, str, str], list[str]]] = {
    "line": _line,
    "steps": _steps,
    "points": _points,
    "band": _band,
    "bars": _bars,
}


def _pairs(points: Iterable[tuple[float, float]], axes: _Spans) -> str:
    return " ".join(
        f"({_number(axes[0], x)},{_number(axes[1], y)})"
        for x, y in points
        if isfinite(x) and isfinite(y)
    )


def _number(span: Span, value: float) -> str:
    """A value in the unit of its axis, which is per cent for shares."""
    return f"{span.held(value) * (100 if span.axis.percent else 1):.7g}"


def _gap(span: Span, low: float, high: float) -> str:
    """From one value to another, at least 0; 0 where one of them is no number."""
    gap = (span.held(high) - span.held(low)) * (100 if span.axis.percent else 1)
    return f"{max(gap, 0.0):.5g}" if isfinite(gap) else "0"
