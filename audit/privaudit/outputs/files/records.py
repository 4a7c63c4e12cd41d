"""JSON lines: an object for each example; and JSON files that hold a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain, show
from privaudit.outputs.files.table import Array, Choose, worded
from privaudit.readers.budget import check
from privaudit.readers.compressed import decompressed

_LINE = 64  # bytes that a row takes at least
_LONGEST = 1 << 26  # characters of a line
_VALUE = 8  # bytes of a number
_FACTOR = 12  # bytes of Python objects for one of JSON, about


def read_records(path: Path, choose: Choose) -> tuple[dict[str, Array], list[str]]:
    """Read objects that all have the same keys; see `table.Reader`.

    A value is a number, text, true or false, or a list of numbers, the same length in each row.
    """
    try:
        with decompressed(path, _LINE) as file:
            return _columns(path, _objects(path, file), choose)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text") from error
    except RecursionError as error:
        raise DataError(f"{path}: is no table: lists stand in lists without end") from error


def _objects(path: Path, file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Each object with its row."""
    first = file.read(1)
    while first.isspace():
        first = file.read(1)
    file.seek(0)
    if first == b"[":
        text = file.read()
        check(path, len(text) * _FACTOR, "its list")
        for row, item in enumerate(_parsed(path, 0, text.decode("utf-8-sig"), list)):
            if not isinstance(item, dict):
                raise DataError(plain(f"{path}: row {row} is {show(item)}, and must be an object"))
            yield row, item
        return
    row = 0
    while line := file.readline(_LONGEST):
        if line.strip():
            yield row, _parsed(path, row, line.decode("utf-8-sig" if row == 0 else "utf-8"), dict)
            row += 1


def _once(path: Path, row: int, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(plain(f"{path}: row {row} holds {show(twice)} twice: keep one of them"))
    return value


def _parsed(path: Path, row: int, text: str, wanted: type) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=partial(_once, path, row))
    except ValueError as error:
        raise DataError(
            plain(f"{path}: row {row} is no JSON ({error}): write one object a line")
        ) from error
    if not isinstance(value, wanted):
        raise DataError(
            plain(
                f"{path}: row {row} is {show(value)}, and must be an object such as "
                '{"label": 0, "member": true, "logits": [1.5, -0.5]}'
            )
        )
    return value


def _columns(
    path: Path, objects: Iterator[tuple[int, Any]], choose: Choose
) -> tuple[dict[str, Array], list[str]]:
    first = next(objects, None)
    if first is None:
        raise DataError(f"{path}: holds no rows")
    names = list(first[1])
    numbers, words = choose(names)
    wanted = [name for name in names if name in numbers | words]
    values: dict[str, list[Any]] = {name: [first[1][name]] for name in wanted}
    row, size = 0, _size(first[1], wanted)
    for row, item in objects:
        for name in wanted:
            if name not in item:
                raise DataError(plain(f"{path}: row {row} lacks {show(name)}"))
            values[name].append(item[name])
        if row % 1000 == 0:
            check(path, row * size * _VALUE * 5, f"{row:,} rows or more")
    return {
        name: _numbers(path, name, cells) if name in numbers else _words(path, name, cells)
        for name, cells in values.items()
    }, []


def _size(item: Any, names: list[str]) -> int:
    return sum(len(item[name]) if isinstance(item[name], list) else 1 for name in names)


def _numbers(path: Path, column: str, cells: list[Any]) -> Array:
    try:
        array = np.array(cells)
    except ValueError as error:  # lists of different lengths
        lengths = [len(cell) if isinstance(cell, list) else 1 for cell in cells]
        row = next((n for n, length in enumerate(lengths) if length != lengths[0]), 0)
        raise DataError(
            plain(
                f"{path}: {show(column)}: row {row} has {lengths[row]} numbers, and row 0 "
                f"{lengths[0]}"
            )
        ) from error
    if array.dtype.kind not in "iuf":
        row = next((n for n, cell in enumerate(cells) if not _numeric(cell)), 0)
        raise DataError(
            plain(f"{path}: {show(column)}: row {row} is {show(cells[row])}, no number")
        )
    return array.astype(np.float64)


def _numeric(cell: Any) -> bool:
    if isinstance(cell, list):
        return all(map(_numeric, cell))
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _words(path: Path, column: str, cells: list[Any]) -> Array:
    row = next((n for n, cell in enumerate(cells) if cell is None or isinstance(cell, dict)), None)
    if row is not None:
        raise DataError(plain(f"{path}: {show(column)}: row {row} is {show(cells[row])}"))
    if any(isinstance(cell, list) for cell in cells):
        return _numbers(path, column, cells)
    if all(isinstance(cell, bool) for cell in cells):
        return np.array(cells, dtype=bool)
    if all(_numeric(cell) for cell in cells):
        return np.array(cells)
    return worded([str(cell) for cell in cells])
