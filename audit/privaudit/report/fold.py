"""Text in lines of a width: broken between words, else between their parts, inside one at last."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

_PARTS = re.compile(r"(?<=[_\-+/,:;|])(?=.)")
"""Where a word may be broken: after what joins its parts, which stays with the first."""


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells.

    >>> folded("dense matched to l1_unstructured", 13)
    ['dense matched', 'to', 'l1_', 'unstructured']
    """
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += _broken(word, width)
    return [line for line in lines if line] or [""]


def longest_word(text: str) -> int:
    """How many cells it takes to break a text between words alone."""
    return max(map(cell_len, text.split(" ")))


def longest_part(text: str) -> int:
    """How many cells it takes to break no part of a word.

    >>> longest_part("dense matched to l1_unstructured")
    12
    """
    return max(cell_len(part) for word in text.split(" ") for part in _PARTS.split(word))


def _broken(word: str, width: int) -> list[str]:
    """A word in lines of its own."""
    lines = [""]
    for part in _PARTS.split(word):
        if cell_len(lines[-1] + part) <= width:
            lines[-1] += part
        else:
            lines += chop_cells(part, max(width, 2))
    return [line for line in lines if line]
