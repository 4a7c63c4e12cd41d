"""Whole columns of a table: numbers that are missing, categories, and what is no feature."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from privaudit import DataError
from privaudit.readers.budget import check
from privaudit_plugins.datasets._header import Columns
from privaudit_plugins.datasets._row import Floats
from privaudit_plugins.datasets._tables import natural_order

_log = logging.getLogger(__name__)

_COUNTED = 20  # a column that counts so many rows at least is no feature


def filled(columns: Columns, numbers: Floats) -> tuple[Floats, Floats]:
    """Numbers without NaN, and a column of 0 and 1 for each that had any: where it was."""
    missing = np.isnan(numbers)
    places = np.flatnonzero(missing.any(axis=0)).tolist()
    for place in places:
        known = numbers[~missing[:, place], place].astype(np.float64)
        if not len(known):
            raise DataError(
                f"{columns.path}: column {columns.names[columns.numeric[place]]!r} is missing in "
                "every row: leave it out by `drop`"
            )
        numbers[missing[:, place], place] = known.mean()
    return numbers, missing[:, places].astype(np.float32)


def check_index(columns: Columns, cells: Sequence[str]) -> None:
    """See that a first column without a name is pandas' index, which is left out."""
    if columns.index is None:
        return
    if len(set(cells)) < len(cells) or not all(cell.isdigit() for cell in cells):
        raise DataError(
            f"{columns.path}: column 0 (from 0) has no name: name or drop it (drop: [0]); no index "
            "of pandas is like that"
        )
    _log.warning(
        "%s: its first column numbers the rows, as pandas' index does, and is left out",
        columns.path,
    )


def warn_of_counts(columns: Columns, numbers: Floats) -> None:
    """Say which column counts the rows: a network may learn them by it."""
    if len(numbers) < _COUNTED:
        return
    counted = np.flatnonzero((np.diff(numbers[:_COUNTED], axis=0) == 1).all(axis=0)).tolist()
    names = [columns.names[columns.numeric[n]] for n in counted
             if (np.diff(numbers[:, n]) == 1).all()]  # fmt: skip
    if names:
        _log.warning(
            "%s: column %s counts the rows, which is no feature: leave it out by drop: [%s]",
            columns.path, repr(names[0]), ", ".join(names),
        )  # fmt: skip


def one_hot(columns: Columns, column: int, texts: Sequence[str]) -> Floats:
    values = natural_order(set(texts))
    name = columns.names[column]
    check(
        columns.path,
        2 * 4 * len(values) * len(texts),  # the columns, and a copy beside the others
        f"to encode the {len(values):,} values of column {name!r} one-hot in {len(texts):,} rows",
    )
    index = {value: number for number, value in enumerate(values)}
    encoded = np.zeros((len(texts), len(values)), np.float32)
    encoded[np.arange(len(texts)), [index[text] for text in texts]] = 1
    return encoded
