"""Columns of Parquet files as datasets of the Hugging Face Hub store them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit import DataError
from privaudit.readers.budget import check
from privaudit.readers.door import opened, plain
from privaudit_plugins.datasets._images import pixels_of
from privaudit_plugins.datasets._tables import natural_order


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            "dataset hub needs huggingface-hub and pyarrow: pip install 'privaudit[hub]'"
        ) from error
    return pyarrow


def read_tables(paths: Sequence[Path]) -> Any:
    """Files of one schema below each other, as a pyarrow.Table.

    Raises:
        DataError: a file is no Parquet, too large, or has other columns than the first.
    """
    pa = _pyarrow()
    tables: list[Any] = []
    for path in paths:
        try:
            with opened(path) as stream:
                file = pa.parquet.ParquetFile(stream)
                groups = range(file.metadata.num_row_groups)
                size = sum(file.metadata.row_group(i).total_byte_size for i in groups)
                check(path, 3 * size, f"{file.metadata.num_rows:,} rows")
                tables.append(file.read())
        except DataError:
            raise
        except Exception as error:  # pyarrow raises whatever it stumbles over
            raise DataError(plain(f"{path}: cannot be read as Parquet ({error})")) from error
        if not tables[-1].schema.equals(tables[0].schema):
            raise DataError(
                plain(
                    f"{path}: has columns {_columns(tables[-1])}, and {paths[0].name} "
                    f"{_columns(tables[0])}: choose files of one configuration by `files`"
                )
            )
    table = pa.concat_tables(tables)
    if table.num_rows == 0:
        raise DataError(f"{paths[0]}: holds no rows")
    return table


def _columns(table: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in table.schema)


def column(table: Any, name: str, where: str) -> Any:
    """A column without gaps.

    Raises:
        DataError: there is none, or it has gaps, and the row is named.
    """
    if table.column_names.count(name) != 1:
        raise DataError(
            plain(f"{where}: has no one column {name!r}; there are {', '.join(table.column_names)}")
        )
    values = table.column(name)
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise DataError(plain(f"{where}: row {row} (from 0) has no {name}"))
    return values


def labels(table: Any, name: str, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) int64 and the names of the classes: those that the schema gives, or as found.

    Raises:
        DataError: a label is none, as the -1 of unlabelled rows, or all are the same.
    """
    values = column(table, name, where).to_pylist()
    names = _class_names(table, name)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if names and whole:
        for row, value in enumerate(values):
            if not 0 <= value < len(names):
                raise DataError(
                    plain(
                        f"{where}: row {row} (from 0) has label {value}, and there are "
                        f"{len(names)} classes, from 0: leave files without labels out by `files`"
                    )
                )
        y = torch.tensor(values)
    else:
        for row, value in enumerate(values):
            if not isinstance(value, int | str):
                raise DataError(
                    plain(
                        f"{where}: row {row} (from 0) has label {value!r}: labels are whole "
                        "numbers or text; name their column by `label_column`"
                    )
                )
        names = tuple(natural_order({str(value) for value in values}))
        index = {one: place for place, one in enumerate(names)}
        y = torch.tensor([index[str(value)] for value in values])
    if bool((y == y[0]).all()):
        raise DataError(
            plain(
                f"{where}: every label is {names[int(y[0])]!r}: an audit needs at least 2 classes"
            )
        )
    return y, names


def _class_names(table: Any, name: str) -> tuple[str, ...]:
    """Names of classes in the schema's metadata, as the `datasets` library writes them."""
    try:
        about = json.loads((table.schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][name]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    fine = isinstance(names, list) and all(isinstance(one, str) for one in names)
    return tuple(names) if fine and len(set(names)) == len(names) else ()


def image_columns(table: Any) -> list[str]:
    """Columns of images: a struct with `bytes`."""
    types = _pyarrow().types
    return [
        field.name
        for field in table.schema
        if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]


def images(table: Any, name: str, size: int | None, where: str) -> Tensor:
    """The images of a column, (N, channels, height, width) uint8: 1 channel if all are grey.

    Raises:
        DataError: a row has no bytes, no image, or one of another size than the first.
    """
    rows: list[NDArray[np.uint8]] = []
    for row, cell in enumerate(column(table, name, where).to_pylist()):
        place = f"{where}, row {row} (from 0)"
        if not isinstance(cell.get("bytes"), bytes):
            raise DataError(plain(f"{place}: {name} holds no bytes, only a path: nothing to read"))
        pixels = pixels_of(BytesIO(cell["bytes"]), place, size)
        if rows and pixels.shape[1:] != rows[0].shape[1:]:
            raise DataError(
                plain(
                    f"{place}: is {pixels.shape[2]}×{pixels.shape[1]}, and the first image is "
                    f"{rows[0].shape[2]}×{rows[0].shape[1]}; give `size` to make them all alike"
                )
            )
        if not rows:
            check(where, 6 * table.num_rows * pixels[0].size, f"{table.num_rows:,} images")
        rows.append(pixels)
    if any(len(pixels) == 3 for pixels in rows):
        rows = [np.broadcast_to(pixels, (3, *pixels.shape[1:])) for pixels in rows]
    return torch.from_numpy(np.stack(rows))


def numbers(table: Any, names: Sequence[str], where: str) -> NDArray[np.float32]:
    """Numeric columns (N, D).

    Raises:
        DataError: a column holds something else, a gap, NaN, or what float32 cannot hold.
    """
    types = _pyarrow().types
    found: list[NDArray[np.float32]] = []
    for name in names:
        values = column(table, name, where)
        kind = values.type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
            raise DataError(
                plain(
                    f"{where}: column {name!r} holds {kind}, no numbers: name those to use by "
                    "`columns`"
                )
            )
        wide = np.array(values.to_pylist(), dtype=np.float64)
        wrong = ~(np.abs(wide) <= np.finfo(np.float32).max)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                plain(f"{where}: row {row} (from 0) has {wide[row]:g} in {name}: no number to use")
            )
        found.append(wide.astype(np.float32))
    return np.stack(found, axis=1)
