"""Where values lie on an axis, and what stands beside it: the same in every drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from privaudit.figures.figure import Axis, Figure, Series

_PAD = 0.04  # of the span, so that no mark is cut by the frame
_DECADES = 2.1  # a log axis of fewer has ticks between the powers of ten


@dataclass(frozen=True)
class Span:
    """An axis whose ends are known.

    Attributes:
        axis: what it is of.
        low: where it begins; above 0 on a log axis.
        high: where it ends, above `low`.
    """

    axis: Axis
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, from 0 at the axis' beginning to 1 at its end.

        On a log axis what is 0 or less lies at the beginning.
        """
        if self.axis.scale == "log":
            value = max(value, self.low)
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def held(self, value: float) -> float:
        """The value, no lower than a log axis can show."""
        return max(value, self.low) if self.axis.scale == "log" else value

    def ticks(self, most: int) -> list[float]:
        """At most so many values to write beside it, evenly apart; two at least."""
        candidates = _log_ticks if self.axis.scale == "log" else _linear_ticks
        return candidates(self.low, self.high, max(most, 2), 100 if self.axis.percent else 1)

    def text(self, value: float, ticks: Sequence[float] = ()) -> str:
        """How a tick is written: a share in per cent, without the sign, which the label has.

        Args:
            value: of the tick.
            ticks: all on the axis; on a linear one all have as many digits after the point.
        """
        unit = 100 if self.axis.percent else 1
        alone = f"{value * unit:.6g}"
        digits = max((_digits(tick * unit) for tick in ticks), default=0)
        if self.axis.scale == "linear" and digits and "e" not in alone:
            alone = f"{value * unit:.{digits}f}"
        return alone.replace("-", "\N{MINUS SIGN}")


def spans(figure: Figure) -> tuple[Span, Span]:
    """Both axes of a figure, as long as its values need."""
    return span(figure.x, _values(figure.series, "x")), span(figure.y, _values(figure.series, "y"))


def span(axis: Axis, values: Iterable[float]) -> Span:
    """An axis that holds these values, as far as it is not told where to end.

    >>> span(Axis("share", low=0.0, high=1.0), [])
    Span(axis=Axis(...), low=0.0, high=1.0)
    """
    log = axis.scale == "log"
    shown = [value for value in values if isfinite(value) and (value > 0 or not log)]
    if not shown:
        shown = [0.1, 1.0] if log else [0.0, 1.0]
    low, high = min(shown), max(shown)
    if log:
        room = max(high / low, 1.1) ** _PAD
        low, high = low / room, high * room
    else:
        room = (high - low or abs(high) or 1.0) * _PAD
        low, high = low - room, high + room
    low = low if axis.low is None else axis.low
    high = high if axis.high is None else axis.high
    if not low < high:
        high = low * 10 if log else low + 1
    return Span(axis, low, high)


def staircase(series: Series) -> list[tuple[float, float]]:
    """The outline of bars that touch each other, from 0 and back to 0."""
    half = bar_width(series) / 2
    corners = [(series.x[0] - half, 0.0)] if series.x else []
    for x, y in zip(series.x, series.y, strict=True):
        corners += [(x - half, y), (x + half, y)]
    return [*corners, (corners[-1][0], 0.0)] if corners else []


def bar_width(series: Series) -> float:
    """How wide a bar is: as far as the nearest two are apart."""
    order = sorted(series.x)
    gaps = [b - a for a, b in pairwise(order) if b > a]
    return min(gaps, default=1.0)


def held_steps(series: Series) -> list[tuple[float, float]]:
    """The corners of values that hold from their x to the next."""
    corners: list[tuple[float, float]] = []
    for x, y in zip(series.x, series.y, strict=True):
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _values(series: Sequence[Series], side: str) -> Iterable[float]:
    for one in series:
        if side == "x":
            half = bar_width(one) / 2 if one.mark == "bars" else 0.0
            yield from (x + sign * half for x in one.x for sign in (-1, 1))
            ends = one.x_low, one.x_high
        else:
            yield from () if one.mark == "band" else one.y
            yield from (0.0,) if one.mark == "bars" else ()
            ends = one.low, one.high
        for end in ends:
            yield from end or ()


def _digits(value: float) -> int:
    """How many digits it takes after the point."""
    return len(f"{value:.6g}".partition(".")[2].partition("e")[0])


def _linear_ticks(low: float, high: float, most: int, unit: int) -> list[float]:
    low, high = low * unit, high * unit  # so that per cent, not shares, are round
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10, 20, 25, 50, 100)):
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        if last - first < most:
            return [number * step / unit for number in range(first, last + 1)]
    return [low / unit, high / unit]


def _log_ticks(low: float, high: float, most: int, unit: int) -> list[float]:
    powers = range(floor(log10(low) - 1e-9), ceil(log10(high) + 1e-9) + 1)
    few = log10(high / low) < _DECADES
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3)) if few else ():
        ticks = [f * 10.0**p for p in powers for f in factors]
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if 2 <= len(inside) <= most:
            return inside
    inside = [10.0**p for p in powers if low * (1 - 1e-9) <= 10.0**p <= high * (1 + 1e-9)]
    every = ceil(len(inside) / most) if inside else 1
    return inside[::-1][::every][::-1] or [low, high]
