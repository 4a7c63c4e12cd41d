"""Colours and shapes that stay apart for every reader: a series has one of each by its number."""

from __future__ import annotations

from privaudit.figures.figure import NEUTRAL

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#8C7B00")
"""Okabe & Ito 2008, "Color universal design", those that differ most for everybody first.

Their yellow cannot be seen on white paper; it is darkened here. Their black is `NEUTRAL`, which
takes the colour of the text around it.
"""

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "down")
"""Of points. Six beside eight colours: 24 series before a pair of both comes again."""


def colour(number: int) -> str | None:
    """The colour of a series as #RRGGBB; None: that of the text.

    >>> colour(0), colour(7), colour(8) == colour(0)
    ('#0072B2', None, True)
    """
    number %= NEUTRAL + 1
    return None if number == NEUTRAL else PALETTE[number]


def shape(number: int) -> str:
    """The shape of a series' points."""
    return SHAPES[number % len(SHAPES)]
