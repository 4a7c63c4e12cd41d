"""One row of a table: its numbers, and what is wrong with a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit_plugins.datasets._cells import Cells, Missing
from privaudit_plugins.datasets._header import Columns
from privaudit_plugins.datasets._text import Record

_SHOWN = 12  # columns that a message lists

Floats = NDArray[np.float32]


def without_value(cell: str, missing: Missing | None) -> str:
    """What to do about a cell that says nothing."""
    state = {"": "empty", "nan": "NaN"}.get(cell.lower(), repr(cell))
    if missing == "value":
        return f"is {state}, and a label must be known: fill it, or set missing: drop"
    return f"is {state}: fill it or drop the row (missing: drop, or value, does so)"


def numbers_in(record: Record, columns: Columns, cells: Cells, sample: Sequence[Record]) -> Floats:
    """The numbers of a row, NaN where one is missing and may be."""
    try:
        if cells.decimal == ",":
            raise ValueError  # comes to the long way
        row = np.array([float(record.cells[index]) for index in columns.numeric])
    except ValueError:
        row = np.array(
            [_number(record, index, columns, cells, sample) for index in columns.numeric]
        )
    with np.errstate(over="ignore"):
        narrow = row.astype(np.float32)
    wrong = ~np.isfinite(narrow)
    if wrong.any():
        for place in np.flatnonzero(wrong):
            index = columns.numeric[int(place)]
            cell = record.cells[index]
            if not cells.is_missing(cell):
                raise columns.mistake(
                    record, index, f"is {cell}, which no network can take: fill it or drop the row"
                )
            if cells.missing not in ("drop", "value"):
                raise columns.mistake(record, index, without_value(cell, cells.missing))
    return narrow


def _number(
    record: Record, index: int, columns: Columns, cells: Cells, sample: Sequence[Record]
) -> float:
    cell = record.cells[index]
    if cells.is_missing(cell):
        return float("nan")
    try:
        return cells.number(cell)
    except ValueError:
        remedy = cells.remedy(cell) or _categorical(columns, cells, [*sample, record])
        raise columns.mistake(record, index, f"is not a number: {cell[:40]!r}{remedy}") from None


def _categorical(columns: Columns, cells: Cells, sample: Sequence[Record]) -> str:
    """All columns that hold text, so that they need not be found one by one."""
    texts = [
        index
        for index in columns.numeric
        if any(
            index < len(record.cells)
            and not cells.is_number(record.cells[index])
            and not cells.is_missing(record.cells[index])
            for record in sample
        )
    ]
    every = sorted({*columns.categorical, *texts})
    if len(every) > _SHOWN:
        return f"; list the column in `categorical`, as {len(every)} columns that hold text"
    return f"; list the column in `categorical`: [{', '.join(columns.names[n] for n in every)}]"
