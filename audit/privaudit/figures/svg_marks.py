"""The marks of a plot in SVG: lines, steps, points with error bars, bands and bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from privaudit.figures.figure import NEUTRAL, Series
from privaudit.figures.layout import SAMPLE, SIZE, Layout
from privaudit.figures.palette import shape
from privaudit.figures.scale import held_steps, staircase
from privaudit.report.escape import plain

_Points = Sequence[tuple[float, float]]

_SPARSE = 6  # marks on a line, so that it is known without its colour
_RADIUS = 3.6


@dataclass(frozen=True)
class Pen:
    """What marks are drawn with: where the plot lies, and the key of its clip path."""

    layout: Layout
    key: str

    def places(self, points: Iterable[tuple[float, float]]) -> _Points:
        """Where points lie; those that are no numbers are left out."""
        return [self.layout.place(x, y) for x, y in points if isfinite(x) and isfinite(y)]

    def clipped(self, parts: Iterable[str]) -> list[str]:
        """Drawn within the plot alone."""
        return [f'<g clip-path="url(#pa-k-{self.key})">', *parts, "</g>"]


def number(value: float) -> str:
    """A coordinate, to a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def drawn(series: Series, pen: Pen) -> list[str]:
    """A series within its plot."""
    return [f'<g class="{_colour(series)}">', *_MARKS[series.mark](series, pen), "</g>"]


def sample(series: Series, x: float, y: float) -> list[str]:
    """What stands for a series in the legend, its left end's middle at (x, y)."""
    end, middle = x + SAMPLE, x + SAMPLE / 2
    box = f'x="{number(x)}" y="{number(y - SIZE / 2)}" width="{SAMPLE:g}" height="{SIZE:g}"'
    if series.mark in ("band", "bars"):
        kind = "pa-hollow" if series.hollow else f"pa-{series.mark}"
        parts = [f'<rect class="{kind}" {box}/>']
    elif series.mark == "points":
        parts = [_point(series, middle, y)]
    else:
        parts = [_path(series, [(x, y), (end, y)])]
        parts += [_point(series, middle, y)] if _marked(series) else []
    return [f'<g class="{_colour(series)}">', *parts, "</g>"]


def _line(series: Series, pen: Pen) -> list[str]:
    places = pen.places(zip(series.x, series.y, strict=True))
    parts = pen.clipped([_path(series, places)])
    if _marked(series):
        every = max(len(places) // _SPARSE, 1)
        parts += [_point(series, *place) for place in places[every // 2 :: every]]
    return parts


def _steps(series: Series, pen: Pen) -> list[str]:
    return pen.clipped([_path(series, pen.places(held_steps(series)))])


def _points(series: Series, pen: Pen) -> list[str]:
    parts = []
    upright = series.low, series.high
    lying = series.x_low, series.x_high
    for n, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if not (isfinite(x) and isfinite(y)):
            continue
        if upright[0] is not None and upright[1] is not None:
            parts += _error(pen, (x, upright[0][n]), (x, upright[1][n]))
        if lying[0] is not None and lying[1] is not None:
            parts += _error(pen, (lying[0][n], y), (lying[1][n], y))
    parts = pen.clipped(parts)
    for n, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        name = series.names[n] if series.names else ""
        parts += [_point(series, *place, name) for place in pen.places([(x, y)])]
    return parts


def _band(series: Series, pen: Pen) -> list[str]:
    low = pen.places(zip(series.x, series.low or series.y, strict=True))
    high = pen.places(zip(series.x, series.high or series.y, strict=True))
    outline = _joined([*high, *reversed(low)])
    return pen.clipped([f'<path class="pa-band" d="{outline}Z"/>'] if outline else [])


def _bars(series: Series, pen: Pen) -> list[str]:
    outline = _joined(pen.places(staircase(series)))
    kind = "pa-hollow" if series.hollow else "pa-bars"
    return pen.clipped([f'<path class="{kind}" d="{outline}"/>'] if outline else [])


_MARKS: Mapping[str, Callable[[Series, Pen], list[str]]] = {
    "line": _line,
    "steps": _steps,
    "points": _points,
    "band": _band,
    "bars": _bars,
}


def _colour(series: Series) -> str:
    return f"pa-c{series.colour % (NEUTRAL + 1)}"


def _marked(series: Series) -> bool:
    """Whether a line carries points, so that it is known without its colour."""
    named = bool(series.label) and not series.thin
    return series.mark == "line" and named and series.colour % (NEUTRAL + 1) != NEUTRAL


def _path(series: Series, places: _Points) -> str:
    kind = "pa-line" + " pa-thin" * series.thin + " pa-dashed" * series.dashed
    return f'<path class="{kind}" d="{_joined(places)}"/>' if places else ""


def _joined(places: _Points) -> str:
    return "".join(f"{'L' if n else 'M'}{number(x)} {number(y)}" for n, (x, y) in enumerate(places))


def _error(pen: Pen, first: tuple[float, float], last: tuple[float, float]) -> list[str]:
    places = pen.places([first, last])
    return [f'<path class="pa-error" d="{_joined(places)}"/>'] if len(places) > 1 else []


def _point(series: Series, x: float, y: float, name: str = "") -> str:
    hover = f"<title>{escape(plain(name))}</title>" if name else ""
    kind = "pa-hollow" if series.hollow else "pa-fill"
    return (
        f'<path class="{kind}" d="{_OUTLINES[shape(series.colour)](x, y, _RADIUS)}">{hover}</path>'
    )


def _circle(x: float, y: float, r: float) -> str:
    left = number(x - r)
    return f"M{left} {number(y)}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0Z"


def _polygon(*corners: tuple[float, float]) -> Callable[[float, float, float], str]:
    def outline(x: float, y: float, r: float) -> str:
        return _joined([(x + r * right, y + r * down) for right, down in corners]) + "Z"

    return outline


_OUTLINES: Mapping[str, Callable[[float, float, float], str]] = {
    "circle": _circle,
    "square": _polygon((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": _polygon((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    "down": _polygon((0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    "diamond": _polygon((0, -1.25), (1.1, 0), (0, 1.25), (-1.1, 0)),
    "cross": _polygon(
        (-0.35, -1.1), (0.35, -1.1), (0.35, -0.35), (1.1, -0.35), (1.1, 0.35), (0.35, 0.35),
        (0.35, 1.1), (-0.35, 1.1), (-0.35, 0.35), (-1.1, 0.35), (-1.1, -0.35), (-0.35, -0.35),
    ),
}  # fmt: skip
