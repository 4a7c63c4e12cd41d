"""Examples of any kind, row by row: arrays, tables of pandas, sparse matrices and lists."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import DataError


def count(examples: Any, name: str) -> int:
    """How many examples there are.

    Raises:
        DataError: nobody can tell.
    """
    shape = getattr(examples, "shape", None)
    try:
        return int(shape[0]) if shape else len(examples)
    except (TypeError, IndexError) as error:
        raise DataError(
            f"{name} must hold one example a row, as an array, a table or a list does: got "
            f"{type(examples).__name__}"
        ) from error


def taken(examples: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows, as the same kind of thing."""
    if hasattr(examples, "iloc"):
        return examples.iloc[rows]
    if isinstance(examples, list | tuple):
        return [examples[row] for row in rows]
    return examples.tocsr()[rows] if hasattr(examples, "tocsr") else examples[rows]


def together(parts: Sequence[Any]) -> Any:
    """Examples one after another, as the same kind of thing.

    Raises:
        DataError: they are of different kinds or shapes.
    """
    first = parts[0]
    try:
        if hasattr(first, "iloc"):
            import pandas

            return pandas.concat(parts)
        if hasattr(first, "tocsr"):
            from scipy import sparse

            return sparse.vstack([part.tocsr() for part in parts], format="csr")
        if isinstance(first, list | tuple):
            return [example for part in parts for example in part]
        return np.concatenate([np.asarray(part) for part in parts])
    except (AttributeError, TypeError, ValueError) as error:
        kinds = " and ".join(dict.fromkeys(type(part).__name__ for part in parts))
        raise DataError(f"the examples do not fit together: {kinds} ({error})") from error


def names(parts: Sequence[Any], labels: Sequence[Any]) -> list[bytes]:
    """A name for each example of all parts, the same for the same example and label.

    Numbers are compared as the coarsest part holds them: what was loaded in another precision, or
    as a table, is the same example.
    """
    precision = np.float32 if any(map(_coarse, parts)) else np.float64
    found = []
    for examples, own in zip(parts, labels, strict=True):
        values = np.asarray(own).ravel().tolist()
        for raw, label in zip(_each(examples, precision), values, strict=True):
            found.append(sha256(raw + b"\x1f" + repr(label).encode()).digest())
    return found


def _coarse(examples: Any) -> bool:
    """Whether numbers have fewer digits than Python's."""
    many = hasattr(examples, "iloc") and examples.ndim > 1
    kinds = list(examples.dtypes) if many else [getattr(examples, "dtype", None)]
    return any(kind in (np.float16, np.float32) for kind in kinds)


def _each(examples: Any, precision: type[np.floating[Any]]) -> list[bytes]:
    if hasattr(examples, "tocsr"):
        rows = examples.tocsr().astype(precision)  # a copy, or nobody else's
        rows.sum_duplicates()
        rows.eliminate_zeros()
        ends = list(zip(rows.indptr[:-1], rows.indptr[1:], strict=True))
        return [
            rows.indices[a:b].astype(np.int64).tobytes() + rows.data[a:b].tobytes() for a, b in ends
        ]
    try:
        table = np.asarray(examples)
    except ValueError:  # lists of different lengths
        table = np.asarray(None)
    if table.dtype.kind in "biuf":
        numbers = table.astype(precision) + precision(0)  # so that -0 is 0
        return [row.tobytes() for row in np.ascontiguousarray(numbers)]
    # Of a list as it is: NumPy would make words of numbers beside words.
    each = examples if isinstance(examples, list | tuple) else table.tolist()
    return [repr(_plain(row, precision)).encode() for row in each]


def _plain(row: Any, precision: type[np.floating[Any]]) -> Any:
    """A row of words and numbers, its numbers all of one kind."""
    if isinstance(row, list | tuple):
        return [_plain(one, precision) for one in row]
    return float(precision(row)) + 0.0 if isinstance(row, int | float) else row


def digest(rows: Any, labels: Any) -> str:
    """A checksum of rows and their labels, in order; of what they hold, not of how."""
    found = sha256()
    for part in (rows, labels):
        for piece in _pieces(part):
            found.update(piece)
            found.update(b"\x1f")
    return found.hexdigest()


def _pieces(part: Any) -> list[bytes]:
    if hasattr(part, "iloc"):
        columns = [part] if part.ndim == 1 else [part.iloc[:, i] for i in range(part.shape[1])]
        return [repr(column.tolist()).encode() for column in columns]
    if hasattr(part, "tocsr"):
        rows = part.tocsr(copy=True)
        rows.sum_duplicates()
        arrays = (rows.data, rows.indices.astype(np.int64), rows.indptr.astype(np.int64))
        return [repr(rows.shape).encode(), *(array.tobytes() for array in arrays)]
    if isinstance(part, np.ndarray) and part.dtype != object:
        return [f"{part.dtype} {part.shape}".encode(), part.tobytes()]
    return [repr(list(part)).encode()]
