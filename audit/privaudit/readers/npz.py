"""NumPy archives (.npz), read without unpickling anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from privaudit.errors import DataError, PrivauditError

Array = NDArray[Any]

_NUMBERS = "biuf"  # NumPy's kinds: bool, int, unsigned int, float
_TEXT = "U"


def read_npz(path: Path, choose: Callable[[list[str]], Iterable[str]]) -> dict[str, Array]:
    """Some arrays of an archive, by name.

    Args:
        path: the file.
        choose: from the names that the file holds to those to read; it raises a `DataError` where
            they are not as they should be.

    Raises:
        DataError: one line that begins with the path: there is no such file, it is damaged or no
            archive, or an array to be read holds Python objects.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise DataError(f"{path}: holds one array: make an archive with np.savez")
        with archive:
            return {name: archive[name] for name in choose(archive.files)}
    except PrivauditError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory, or is damaged") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # NumPy and zipfile raise whatever they stumble over
        objects = str(error).startswith("Object arrays")
        what = "holds Python objects" if objects else "is damaged, or no archive"
        raise DataError(
            f"{path}: {what}: make it with np.savez out of arrays of numbers or text"
        ) from error


def read_examples(path: Path) -> tuple[Array, list[str]]:
    """The examples x (N, ...) of an archive and their N labels y as text.

    Floating x come as float32; whole numbers and bool as they are in the file. Other arrays are
    left unread.

    Raises:
        DataError: one line that begins with the path: as for `read_npz`; x or y is missing, or has
            the wrong shape or type; a row holds NaN or infinity.
    """
    arrays = read_npz(path, lambda names: _x_and_y(path, names))
    x, y = arrays["x"], arrays["y"]
    if x.ndim < 2 or x.dtype.kind not in _NUMBERS or 0 in x.shape[1:]:
        raise DataError(
            f"{path}: x must be numbers of shape (N, D), (N, T, D), (N, C, H, W) or another with "
            f"the examples on its first axis, got {x.dtype} of shape {x.shape}"
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in _NUMBERS + _TEXT:
        one_hot = y.ndim == 2 and len(y) == len(x) and y.shape[1] > 1
        raise DataError(
            f"{path}: y must hold one number or text for each of the {len(x)} rows of x, "
            f"got {y.dtype} of shape {y.shape}"
            + ("; of one-hot labels save y.argmax(1)" if one_hot else "")
        )
    if len(x) == 0:
        raise DataError(f"{path}: x and y have no rows")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
    wrong = _not_finite(x) | _not_finite(y)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: row {row} (from 0) holds NaN or infinity: fill it or drop it")
    return x, [str(label) for label in y.tolist()]


def _x_and_y(path: Path, names: list[str]) -> list[str]:
    for name in ("x", "y"):
        if name not in names:
            shown = (held if held.isprintable() else repr(held) for held in sorted(names))
            raise DataError(
                f"{path}: there is no array {name!r}; it holds {', '.join(shown) or 'nothing'}: "
                "save the examples as x and their labels as y"
            )
    return ["x", "y"]


def _not_finite(array: Array) -> NDArray[np.bool_]:
    """Which rows (N,) of (N, ...) hold NaN or infinity."""
    if array.dtype.kind != "f":
        return np.zeros(len(array), bool)
    finite: NDArray[np.bool_] = np.isfinite(array).reshape(len(array), -1)
    return np.logical_not(finite.all(axis=1))
