"""What a cell of a table says: a number, a text, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Missing = Literal["refuse", "drop", "value"]

_NOTHING = {"", "nan"}
_MARKS = _NOTHING | {"?", "na", "n/a", "null", "<na>", "none"}
_TRUTH = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Cells:
    """How the cells of a table are read.

    Attributes:
        decimal: "." or ",", which stands in numbers.
        missing: what becomes of cells that say nothing; None: they are refused, but a `?` among
            texts is a text.
    """

    decimal: str = "."
    missing: Missing | None = None

    def number(self, cell: str) -> float:
        """The number that a cell holds; true and false are 1 and 0.

        Raises:
            ValueError: it holds none.
        """
        if self.decimal == "," and cell:
            if "." in cell:
                raise ValueError(cell)
            cell = cell.replace(",", ".")
        truth = _TRUTH.get(cell.lower())
        return float(cell) if truth is None else truth

    def is_number(self, cell: str) -> bool:
        """Whether a cell holds a number; NaN is none."""
        try:
            return not self.is_missing(cell) and self.number(cell) is not None
        except ValueError:
            return False

    def is_missing(self, cell: str, text: bool = False) -> bool:
        """Whether a cell says nothing.

        Args:
            cell: without blanks around it.
            text: of a column of texts, where `none` is one, and `?` if the recipe says nothing.
        """
        small = cell.lower()
        if text:
            return small in (_NOTHING if self.missing is None else _MARKS - {"none"})
        return small in _MARKS

    def remedy(self, cell: str) -> str:
        """What to do about a cell that is no number and should be one."""
        if self.decimal == "." and _DECIMAL_COMMA.fullmatch(cell):
            return "; set decimal: ',' if its comma is that of a decimal, else take it out"
        if re.search(r"[;|\t]", cell):
            return "; set separator if cells are not separated by commas"
        return ""
