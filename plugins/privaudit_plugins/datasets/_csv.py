"""Tables of text as columns of numbers, with every mistake named by its line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from privaudit import DataError
from privaudit.readers.budget import allowed, check
from privaudit.readers.door import plain
from privaudit_plugins.datasets._cells import Cells, Missing
from privaudit_plugins.datasets._encode import check_index, filled, one_hot, warn_of_counts
from privaudit_plugins.datasets._header import Columns, columns_of, names_columns
from privaudit_plugins.datasets._row import Floats, numbers_in, without_value
from privaudit_plugins.datasets._text import ROW, Record, Source, peeked, records

_log = logging.getLogger(__name__)

_CELL = 80  # bytes that a cell of text takes
_SAMPLE = 100  # rows that tell whether the first one names the columns
_UNKNOWN = "?"  # the value of a categorical cell that says nothing


@dataclass(frozen=True)
class Reading:
    """How a table is read; see the options of the dataset `table`.

    Attributes:
        names: of the columns, where the file has none and a layout knows them.
        label_end: what is cut off from the end of labels.
        some: whether `categorical` names columns that only some versions of the file have.
    """

    label_column: str | int = "label"
    categorical: tuple[str | int, ...] = ()
    drop: tuple[str | int, ...] = ()
    header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    missing: Missing | None = None
    names: tuple[str, ...] = ()
    label_end: str = ""
    some: bool = False


@dataclass(frozen=True)
class Rows:
    """A table that was read.

    Attributes:
        numbers: (N, A) the numeric columns.
        encoded: (N, B) columns of 0 and 1: whether a number was missing, and the categories.
        labels: the N labels.
        places: N times "FILE, line LINE".
    """

    numbers: Floats
    encoded: Floats
    labels: list[str]
    places: tuple[str, ...]


@dataclass
class _Read:
    """The rows that are read so far; `numbers` hold NaN where nothing is known."""

    numbers: list[Floats] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)
    dropped: int = 0


def read_table(sources: Sequence[Source], how: Reading) -> Rows:
    """The rows of one or more files of the same columns.

    Raises:
        DataError: with file and line.
    """
    path = sources[0].rows
    try:
        return _read(path, sources, how)
    except DataError as error:
        raise DataError(plain(str(error))) from error
    except MemoryError as error:
        raise DataError(plain(f"{path}: does not fit into memory")) from error


def _read(path: Path, sources: Sequence[Source], how: Reading) -> Rows:
    cells = Cells(how.decimal, how.missing)
    columns, rows, sample = _opened(path, sources, how, cells)
    read = _Read()
    size = ROW + 8 * len(columns.numeric) + _CELL * (2 + len(columns.categorical))
    most = allowed() // size
    for record in rows:
        if len(record.cells) != len(columns.names):
            raise DataError(
                f"{record.path}:{record.line}: {len(record.cells)} cells, but the first line "
                f"{'names' if how.header is not False else 'has'} {len(columns.names)} columns"
            )
        if len(read.numbers) == most:
            check(path, size * (most + 1), f"what it holds up to line {record.line:,}")
        _add(read, record, columns, cells, how, sample)
    if not read.numbers:
        emptied = f", as each of its {read.dropped:,} rows lacks a value" if read.dropped else ""
        raise DataError(f"{path}: column names, but no rows{emptied}")
    if read.dropped:
        _log.warning(
            "%s: %d of %d rows lack a value and are left out (missing: drop)",
            path, read.dropped, read.dropped + len(read.numbers),
        )  # fmt: skip
    check_index(columns, read.index)
    numbers, unknown = filled(columns, np.stack(read.numbers))
    warn_of_counts(columns, numbers)
    labels, *texts = map(list, zip(*read.texts, strict=True))
    blocks = [unknown]
    blocks += [one_hot(columns, c, t) for c, t in zip(columns.categorical, texts, strict=True)]
    return Rows(numbers, np.hstack(blocks), labels, tuple(read.places))


def _opened(
    path: Path, sources: Sequence[Source], how: Reading, cells: Cells
) -> tuple[Columns, Iterator[Record], list[Record]]:
    """The columns, all rows below their names, and the first of them."""
    first, rows = peeked(records(sources[0], how.separator, how.encoding), _SAMPLE)
    if not first:
        raise DataError(f"{path}: the file is empty: it should hold rows, or names and rows")
    named = names_columns(first, cells, how.label_column, how.header)
    head = first[0]
    if how.names and len(how.names) != len(head.cells):
        raise DataError(
            f"{head.path}:{head.line}: {len(head.cells)} cells, but its layout has "
            f"{len(how.names)} columns: leave `layout` out if it is another file"
        )
    head = Record(head.path, head.line, list(how.names or head.cells))
    texts = [c for c in how.categorical if not how.some or c in head.cells]
    columns = columns_of(head, named or bool(how.names), how.label_column, texts, how.drop)
    more = (records(source, how.separator, how.encoding) for source in sources[1:])
    files = [rows, *more]
    if named:
        for file in files:
            next(file, None)
    return columns, chain.from_iterable(files), first[named:]


def _add(
    read: _Read,
    record: Record,
    columns: Columns,
    cells: Cells,
    how: Reading,
    sample: Sequence[Record],
) -> None:
    numbers = numbers_in(record, columns, cells, sample)
    texts = [record.cells[column] for column in (columns.label, *columns.categorical)]
    texts[0] = texts[0].removesuffix(how.label_end)
    missing = [cells.is_missing(text, text=True) for text in texts]
    if cells.missing == "drop" and (any(missing) or np.isnan(numbers).any()):
        read.dropped += 1
        return
    for column, nothing in zip((columns.label, *columns.categorical), missing, strict=True):
        if nothing and (cells.missing != "value" or column == columns.label):
            raise columns.mistake(
                record, column, without_value(record.cells[column], cells.missing)
            )
    read.numbers.append(numbers)
    read.texts.append([_UNKNOWN if m else text for text, m in zip(texts, missing, strict=True)])
    read.places.append(f"{record.path.name}, line {record.line}")
    if columns.index is not None:
        read.index.append(record.cells[columns.index])
