"""Comma-separated files, plain or compressed, read with every mistake named by its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privaudit import DataError
from privaudit.messages import plain
from privaudit.readers.budget import allowed, check
from privaudit.readers.compressed import decompressed
from privaudit_plugins.datasets._tables import natural_order

_LONGEST_LINE = 1 << 26  # characters; more than a million columns take
_FEW = 1000  # names among which the nearest is looked for
_ROW, _CELL = 250, 80  # bytes that a row takes by itself, and each of its cells of text


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
    line = 0
    try:
        with decompressed(path, _ROW) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            reader = csv.reader(_lines(path, text), strict=True)
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


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a file, as long as they may be."""
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"{path}:{number}: is longer than {_LONGEST_LINE:,} characters: no line of a table"
            )
        yield line


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
    near = get_close_matches(column, header[:_FEW], n=1)
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
    seen: set[str] = set()
    if all(_is_number(cell) for cell in header):
        raise DataError(f"{path}:{line}: numbers only: the first line must name the columns")
    for index, name in enumerate(header):
        if not name:
            raise DataError(f"{path}:{line}: column {index} (from 0) has no name: name or drop it")
        if name in seen:
            raise DataError(f"{path}:{line}: two columns are named {name!r}")
        seen.add(name)
    if len(header) == 1:
        raise DataError(
            f"{path}:{line}: one column only, {header[0][:60]!r}: a table needs a label and a "
            "feature, separated by a comma"
        )
    label = _find(path, header, label_column, "label_column")
    encoded = [_find(path, header, name, "categorical") for name in categorical]
    if label in encoded:
        raise DataError(f"{path}: categorical names {header[label]!r}, which is the label column")
    text = {label, *encoded}
    numeric = [index for index in range(len(header)) if index not in text]
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


def _one_hot(layout: Layout, column: int, texts: Sequence[str]) -> NDArray[np.float32]:
    values = natural_order(set(texts))
    name = layout.header[column]
    check(
        layout.path,
        2 * 4 * len(values) * len(texts),  # the columns, and a copy beside the others
        f"to encode the {len(values):,} values of column {name!r} one-hot in {len(texts):,} rows",
    )
    index = {value: number for number, value in enumerate(values)}
    encoded = np.zeros((len(texts), len(values)), np.float32)
    encoded[np.arange(len(texts)), [index[text] for text in texts]] = 1
    return encoded


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
    try:
        return _read(path, label_column, categorical)
    except DataError as error:
        raise DataError(plain(str(error))) from error
    except MemoryError as error:
        raise DataError(plain(f"{path}: does not fit into memory")) from error


def _read(
    path: Path, label_column: str | int, categorical: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    records = _records(path)
    line, cells = next(records, (0, []))
    if not cells:
        raise DataError(f"{path}: the file is empty: its first line must name the columns")
    layout = _layout(path, line, cells, label_column, categorical)
    rows: list[NDArray[np.float32]] = []
    texts: list[list[str]] = []
    size = _ROW + 8 * len(layout.numeric) + _CELL * (1 + len(layout.categorical))
    most = allowed() // size
    for line, cells in records:
        if len(cells) != len(layout.header):
            raise DataError(
                f"{path}:{line}: {len(cells)} cells, but the first line names "
                f"{len(layout.header)} columns"
            )
        if len(rows) == most:
            check(path, size * (most + 1), f"what it holds up to line {line:,}")
        rows.append(_numbers(layout, line, cells))
        texts.append(_texts(layout, line, cells))
    if not rows:
        raise DataError(f"{path}: column names, but no rows")
    labels, *columns = ([row[index] for row in texts] for index in range(len(texts[0])))
    numbers = np.stack(rows)
    encoded = np.hstack(
        [
            np.empty((len(rows), 0), np.float32),
            *(_one_hot(layout, c, t) for c, t in zip(layout.categorical, columns, strict=True)),
        ]
    )
    return numbers, encoded, labels
