"""Comma-separated files, plain or compressed, read with every mistake named by its line."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO, cast

import numpy as np
from numpy.typing import NDArray

from privaudit import DataError
from privaudit_plugins.datasets._tables import natural_order

_OPENERS: dict[str, Callable[..., object]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}


@dataclass(frozen=True)
class Layout:
    """Which column of a file is what.

    Attributes:
        path: the file, for messages.
        header: the column names.
        label: index of the label.
        numeric: indices of the numeric columns.
        categorical: indices of the columns to encode one-hot.
    """

    path: Path
    header: Sequence[str]
    label: int
    numeric: Sequence[int]
    categorical: Sequence[int]

    def mistake(self, line: int, column: int, message: str) -> DataError:
        """An error that names file, line and column."""
        return DataError(f"{self.path}:{line}: column {self.header[column]!r} {message}")


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record starts, from 1, and its cells; blank lines are left out."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    line = 0
    try:
        with cast(TextIO, opener(path, "rt", encoding="utf-8-sig", newline="")) as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if cells:
                    yield line + 1, cells
                line = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1}: not comma-separated text ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text after line {line}: save it as CSV in UTF-8"
        ) from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _find(path: Path, header: Sequence[str], column: str | int, option: str) -> int:
    if isinstance(column, int):
        if not -len(header) <= column < len(header):
            raise DataError(
                f"{path}: {option} {column} is out of range: there are {len(header)} columns, "
                f"counted from 0"
            )
        return column % len(header)
    if column in header:
        return header.index(column)
    near = get_close_matches(column, header, n=1)
    shown = ", ".join(header[:6]) + (", …" if len(header) > 6 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {shown}"
    raise DataError(f"{path}: {option} names {column!r}, which is not a column; {hint}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _layout(
    path: Path, line: int, cells: list[str], label_column: str | int, categorical: Sequence[str]
) -> Layout:
    header = [cell.strip() for cell in cells]
    if all(_is_number(cell) for cell in header):
        raise DataError(f"{path}:{line}: numbers only: the first line must name the columns")
    for index, name in enumerate(header):
        if not name:
            raise DataError(f"{path}:{line}: column {index} (from 0) has no name: name or drop it")
        if name in header[:index]:
            raise DataError(f"{path}:{line}: two columns are named {name!r}")
    if len(header) == 1:
        raise DataError(
            f"{path}:{line}: one column only, {header[0][:60]!r}: a table needs a label and a "
            "feature, separated by a comma"
        )
    label = _find(path, header, label_column, "label_column")
    encoded = [_find(path, header, name, "categorical") for name in categorical]
    if label in encoded:
        raise DataError(f"{path}: categorical names {header[label]!r}, which is the label column")
    numeric = [index for index in range(len(header)) if index != label and index not in encoded]
    return Layout(path, header, label, numeric, sorted(set(encoded)))


def _numbers(layout: Layout, line: int, cells: Sequence[str]) -> NDArray[np.float32]:
    try:
        row = np.array([float(cells[index]) for index in layout.numeric])
    except ValueError:
        for index in layout.numeric:
            if not cells[index].strip():
                raise layout.mistake(line, index, "is empty: fill it or drop the row") from None
            if not _is_number(cells[index]):
                advice = f"is not a number: {cells[index][:40]!r}; list the column in `categorical`"
                raise layout.mistake(line, index, advice) from None
        raise
    with np.errstate(over="ignore"):
        narrow = row.astype(np.float32)
    if not np.isfinite(narrow).all():
        index = layout.numeric[int(np.isfinite(narrow).argmin())]
        advice = f"is {cells[index].strip()}, which no network can take: fill it or drop the row"
        raise layout.mistake(line, index, advice)
    return narrow


def _texts(layout: Layout, line: int, cells: Sequence[str]) -> list[str]:
    """The label, then the categorical cells."""
    texts = [cells[index].strip() for index in (layout.label, *layout.categorical)]
    for index, text in zip((layout.label, *layout.categorical), texts, strict=True):
        if text.lower() in ("", "nan"):
            state = "NaN" if text else "empty"
            raise layout.mistake(line, index, f"is {state}: fill it or drop the row")
    return texts


def _one_hot(texts: Sequence[str]) -> NDArray[np.float32]:
    values = natural_order(set(texts))
    index = {value: number for number, value in enumerate(values)}
    return np.eye(len(values), dtype=np.float32)[[index[text] for text in texts]]


def read_csv(
    path: Path, label_column: str | int, categorical: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """The numeric columns (N, A), the categorical ones encoded (N, B), and the N labels.

    Args:
        path: comma-separated UTF-8 text whose first line names the columns; .gz, .xz and .bz2
            are decompressed.
        label_column: name or index (from 0; -1 is the last) of the label.
        categorical: names of the columns to encode one-hot, values in natural order.

    Raises:
        DataError: with file and line.
    """
    records = _records(path)
    line, cells = next(records, (0, []))
    if not cells:
        raise DataError(f"{path}: the file is empty: its first line must name the columns")
    layout = _layout(path, line, cells, label_column, categorical)
    rows: list[NDArray[np.float32]] = []
    texts: list[list[str]] = []
    for line, cells in records:
        if len(cells) != len(layout.header):
            raise DataError(
                f"{path}:{line}: {len(cells)} cells, but the first line names "
                f"{len(layout.header)} columns"
            )
        rows.append(_numbers(layout, line, cells))
        texts.append(_texts(layout, line, cells))
    if not rows:
        raise DataError(f"{path}: column names, but no rows")
    labels, *columns = ([row[index] for row in texts] for index in range(len(texts[0])))
    numbers = np.stack(rows)
    encoded = np.hstack([np.empty((len(rows), 0), np.float32), *map(_one_hot, columns)])
    return numbers, encoded, labels
