"""What a plot shows, before it is drawn: every drawing is made from these values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Scale = Literal["linear", "log"]
Mark = Literal["line", "steps", "points", "band", "bars"]

NEUTRAL = 7
"""The palette's black: for what is no result, such as the diagonal of a guess."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: with its unit, where it has one.
        scale: of the axis.
        low: where it begins; None: at the data.
        high: where it ends; likewise.
        percent: whether values are shares from 0 to 1 that are written as per cent.
    """

    label: str
    scale: Scale = "linear"
    low: float | None = None
    high: float | None = None
    percent: bool = False


@dataclass(frozen=True)
class Series:
    """Some numbers that belong together, under one name in the legend.

    Attributes:
        label: in the legend; empty: it has no entry.
        mark: a line; steps, whose value holds from its x to the next; points; a band between `low`
            and `high`; or bars from 0, each centred on its x.
        x: (n,) where.
        y: (n,) what; of a band, its middle.
        low: (n,) lower ends of error bars or of the band; None: it has none.
        high: (n,) upper ends, likewise.
        x_low: (n,) left ends of error bars; None: it has none.
        x_high: (n,) right ends, likewise.
        names: (n,) what each point is called; empty: they have no names.
        colour: which of the palette's colours, from 0; series of one colour belong together.
        dashed: whether its line is dashed.
        thin: whether it stands behind the others: one network of a mean, a thread between points.
        hollow: whether points and bars are outlines, beside filled ones of the same colour.
    """

    label: str
    mark: Mark
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    x_low: tuple[float, ...] | None = None
    x_high: tuple[float, ...] | None = None
    names: tuple[str, ...] = ()
    colour: int = 0
    dashed: bool = False
    thin: bool = False
    hollow: bool = False


@dataclass(frozen=True)
class Zone:
    """A part of the plot, between two values of x, about which nothing can be told.

    Attributes:
        low: where it begins, on the x axis.
        high: where it ends.
        label: why.
    """

    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Figure:
    """One plot.

    Attributes:
        kind: roc, tradeoff, density, scores or curves.
        title: what it shows.
        alternative: the same in a sentence, for who cannot see it.
        x: the horizontal axis.
        y: the vertical axis.
        series: what is drawn, the first at the back; a legend begins with the last.
        zones: what cannot be told.
        notes: sentences below it.
    """

    kind: str
    title: str
    alternative: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    zones: tuple[Zone, ...] = ()
    notes: tuple[str, ...] = field(default=())
