"""What every reader of tables gives: the columns that are asked for, as arrays of N rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import DataError
from privaudit.messages import plain, show

Array = NDArray[Any]
Choose = Callable[[Sequence[str]], tuple[set[str], set[str]]]
"""From all columns to those of numbers and those that may hold words; the rest is left unread."""


class Reader(Protocol):
    """Reads a table."""

    def __call__(self, path: Path, choose: Choose) -> tuple[dict[str, Array], list[str]]:
        """The columns that are chosen, and a sentence for everything that was decided.

        Columns of numbers are float64 (N,), or (N, ...) where a cell is a list; others are what
        `worded` makes.

        Raises:
            DataError: one line that begins with the path.
        """
        ...


def worded(cells: Sequence[str]) -> Array:
    """Cells of text (N,) as float64 where all are numbers, else as text without outer blanks."""
    try:
        if not any("_" in cell for cell in cells):
            return np.array(list(map(float, cells)))
    except ValueError:
        pass
    return np.array([cell.strip() for cell in cells], dtype=object)


_YES = ("true", "t", "yes", "y", "member", "in", "train", "1", "1.0")
_NO = ("false", "f", "no", "n", "non-member", "nonmember", "out", "test", "0", "0.0")
_WORDS = {**dict.fromkeys(_YES, True), **dict.fromkeys(_NO, False)}


def truths(values: Array, path: object, column: str) -> Array:
    """Flags (N,) of a column that says them as words or numbers.

    Raises:
        DataError: a cell is neither.
    """
    if values.dtype != object:
        return values
    found = [_WORDS.get(str(value).strip().lower()) for value in values.tolist()]
    if None in found:
        row = found.index(None)
        raise DataError(
            plain(
                f"{path}: column {show(column)} must say true or false (or 1 and 0): row {row} is "
                f"{show(values[row])}"
            )
        )
    return np.array(found, dtype=bool)
