"""Parquet files, by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain, show
from privaudit.outputs.files.table import Array, Choose, worded
from privaudit.readers.budget import check
from privaudit.readers.door import opened

_FACTOR = 3  # the column, its array and a copy


def read_parquet(path: Path, choose: Choose) -> tuple[dict[str, Array], list[str]]:
    """Read the columns that are asked for, and no other; see `table.Reader`.

    Raises:
        DataError: as said there; or pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: reading Parquet needs pyarrow: pip install 'privaudit[files]'"
        ) from error
    with opened(path) as file:
        try:
            table = parquet.ParquetFile(file)
            names = list(table.schema_arrow.names)
            numbers, words = choose(names)
            wanted = [name for name in names if name in numbers | words]
            rows = table.metadata.num_rows
            check(path, rows * len(wanted) * 8 * _FACTOR, f"{rows:,} rows")
            read = table.read(columns=wanted)
            if rows == 0:
                raise DataError(f"{path}: holds no rows")
            return {
                name: _array(path, name, read.column(name).combine_chunks(), name in numbers)
                for name in wanted
            }, []
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(plain(f"{path}: is damaged, or no Parquet file ({reason})")) from error


def _array(path: Path, name: str, column: Any, number: bool) -> Array:
    from pyarrow import types

    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(plain(f"{path}: column {show(name)}: row {row} is empty"))
    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = column.flatten()
        width, rest = divmod(len(inner), max(1, len(column)))
        lengths = {len(item) for item in column} if rest or width == 0 else {width}
        if not types.is_fixed_size_list(kind):
            lengths = set(column.value_lengths().to_pylist())
        if len(lengths) != 1:
            raise DataError(plain(f"{path}: column {show(name)}: lists of different lengths"))
        return _array(path, name, inner, True).reshape(len(column), width)
    if types.is_boolean(kind) and not number:
        return np.array(column.to_pylist(), dtype=bool)
    if types.is_integer(kind) or types.is_floating(kind):
        values = np.asarray(column.to_numpy(zero_copy_only=False))
        return values.astype(np.float64) if number else values
    if types.is_decimal(kind):
        return np.array([float(value) for value in column.to_pylist()])
    if (types.is_string(kind) or types.is_large_string(kind)) and not number:
        return worded(column.to_pylist())
    raise DataError(plain(f"{path}: column {show(name)} holds {kind}, and must hold numbers"))
