"""Tables of text, CSV and TSV, plain or compressed, block by block."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain, show
from privaudit.outputs.files.table import Array, Choose, worded
from privaudit.readers.budget import check
from privaudit.readers.compressed import decompressed

_ROWS = 20_000  # that are held as text at a time
_CELL = 8  # bytes of a number
_LINE = 64  # bytes that a row takes at least
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = (",", "\t", ";")


def read_delimited(path: Path, choose: Choose) -> tuple[dict[str, Array], list[str]]:
    """Read a table whose first line names its columns; see `table.Reader`."""
    try:
        with decompressed(path, _LINE) as file:
            return _read(path, file, choose)
    except csv.Error as error:
        raise DataError(plain(f"{path}: is no table of text ({error})")) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text: save it as CSV in UTF-8") from error


def _read(path: Path, file: BinaryIO, choose: Choose) -> tuple[dict[str, Array], list[str]]:
    start = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in _BOMS if start.startswith(mark)), "utf-8")
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    first = text.readline(1 << 22)
    separator = _separator(path, first)
    said = (
        []
        if separator == "," or path.name.lower().endswith((".tsv", ".tsv.gz"))
        else [f"columns are separated by {'a tab' if separator == chr(9) else show(separator)}"]
    )
    rows = csv.reader(_joined(first, text), delimiter=separator, strict=True)
    header = [name.strip() for name in next(rows, [])]
    _check_header(path, header)
    numbers, words = choose(header)
    places = {name: header.index(name) for name in header if name in numbers | words}
    blocks: dict[str, list[Array]] = {name: [] for name in numbers}
    texts: dict[str, list[str]] = {name: [] for name in words}
    decimal = False
    count = 0
    while block := list(islice((row for row in rows if row), _ROWS)):
        _check_widths(path, block, len(header), count)
        check(path, (count + len(block)) * len(places) * 2 * _CELL, f"{count:,} rows or more")
        for name in places:
            cells = [row[places[name]] for row in block]
            if name in words:
                texts[name] += cells
                continue
            array, comma = _numbers(path, name, cells, count, separator)
            decimal = decimal or comma
            blocks[name].append(array)
        count += len(block)
    if count == 0:
        raise DataError(f"{path}: holds no rows")
    if decimal:
        said.append("numbers have a decimal comma")
    columns = {name: np.concatenate(arrays) for name, arrays in blocks.items()}
    return columns | {name: _worded(path, name, cells) for name, cells in texts.items()}, said


def _separator(path: Path, line: str) -> str:
    counts = [line.count(mark) for mark in _SEPARATORS]
    if not any(counts):
        raise DataError(
            plain(
                f"{path}: the first line, {show(line.strip())}, must name columns separated by "
                "commas, tabs or semicolons"
            )
        )
    return _SEPARATORS[counts.index(max(counts))]


def _joined(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    yield from rest


def _check_header(path: Path, header: Sequence[str]) -> None:
    if header and all(_number(name) is not None for name in header):
        raise DataError(f"{path}: the first line holds numbers: it must name the columns")
    for place, name in enumerate(header):
        if name and name in header[:place]:
            raise DataError(plain(f"{path}: two columns are named {show(name)}"))


def _check_widths(path: Path, block: Sequence[Sequence[str]], width: int, before: int) -> None:
    for place, row in enumerate(block):
        if len(row) != width:
            raise DataError(
                f"{path}: row {before + place} has {len(row)} cells, and the first line {width}"
            )


def _numbers(
    path: Path, column: str, cells: Sequence[str], before: int, separator: str
) -> tuple[Array, bool]:
    try:
        if "_" not in "".join(cells):
            return np.array(list(map(float, cells))), False
    except ValueError:
        pass
    comma = separator != ","
    if comma:
        cells = [cell.replace(",", ".") if cell.count(",") == 1 else cell for cell in cells]
    values = [_number(cell) for cell in cells]
    if None in values:
        place = values.index(None)
        problem = "is empty" if not cells[place].strip() else f"is {show(cells[place])}, no number"
        raise DataError(plain(f"{path}: column {show(column)}: row {before + place} {problem}"))
    return np.array(values, dtype=np.float64), comma


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _worded(path: Path, column: str, cells: Sequence[str]) -> Array:
    empty = next((place for place, cell in enumerate(cells) if not cell.strip()), None)
    if empty is not None:
        raise DataError(plain(f"{path}: column {show(column)}: row {empty} is empty"))
    return worded(cells)
