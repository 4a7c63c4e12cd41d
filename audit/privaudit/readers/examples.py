"""Examples and their labels, out of the arrays of an archive by the names that people give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import DataError
from privaudit.readers.archive import Array, read_npz, unlike
from privaudit.readers.budget import check

_NUMBERS = "biuf"  # NumPy's kinds: bool, int, unsigned int, float
_TEXT = "U"
_LABEL = 100  # bytes that a label takes as text

Pair = tuple[str, str]

_PAIRS: tuple[tuple[Pair, ...], ...] = (
    (("x", "y"),),
    (("X", "y"),),
    (("X", "Y"),),
    (("features", "labels"),),
    (("data", "labels"),),
    (("data", "target"),),
    (("images", "labels"),),
    (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test")),
    (("X_train", "y_train"), ("X_val", "y_val"), ("X_test", "y_test")),
    (
        ("train_images", "train_labels"),
        ("val_images", "val_labels"),
        ("test_images", "test_labels"),
    ),
)
"""Names of examples and labels; the first pair of a row must be there, the others may."""


def named_examples(path: Path) -> tuple[Array, list[str], tuple[str, ...]]:
    """The examples x (N, ...) of an archive, their N labels y as text, and their N names.

    They may have other usual names, stand in parts for training and testing, and have one-hot
    labels (N, C). Floating x come as float32; whole numbers and bool as they are in the file.
    Other arrays are left unread.

    Raises:
        DataError: one line that begins with the path: as for `read_npz`; x or y is missing, or has
            the wrong shape or type; a row holds NaN or infinity.
    """
    pairs: list[Pair] = []

    def choose(names: list[str]) -> list[str]:
        pairs.extend(_pairs(path, names))
        return [name for pair in pairs for name in pair]

    arrays = read_npz(path, choose)
    parts = [_part(path, pair, arrays) for pair in pairs]
    for pair, (x, _) in zip(pairs[1:], parts[1:], strict=True):
        first = parts[0][0]
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            raise DataError(
                f"{path}: {pairs[0][0]} holds {first.dtype} of shape {first.shape}, and {pair[0]} "
                f"{x.dtype} of shape {x.shape}: they must be alike"
            )
    names = tuple(
        f"{path.name}, row {row}" + (f" of {pair[0]}" if len(pairs) > 1 else "")
        for pair, (x, _) in zip(pairs, parts, strict=True)
        for row in range(len(x))
    )
    labels = [label for _, part in parts for label in part]
    if len(parts) == 1:
        return parts[0][0], labels, names
    needed = 2 * sum(x.nbytes for x, _ in parts)
    check(path, needed, f"to join {', '.join(pair[0] for pair in pairs)}")
    return np.concatenate([x for x, _ in parts]), labels, names


def _pairs(path: Path, names: Sequence[str]) -> list[Pair]:
    """The pairs that a file holds.

    Raises:
        DataError: none, or half of one.
    """
    for row in _PAIRS:
        if not set(row[0]) <= set(names):
            continue
        for examples, labels in row[1:]:
            if (examples in names) != (labels in names):
                there, lacks = (examples, labels) if examples in names else (labels, examples)
                raise DataError(
                    f"{path}: it holds {there!r} but no {lacks!r}: save both, or neither"
                )
        return [pair for pair in row if pair[0] in names]
    missing = "y" if "x" in names else "x"
    shown = (held if held.isprintable() else repr(held) for held in sorted(names))
    raise DataError(
        f"{path}: there is no array {missing!r}; it holds {', '.join(shown) or 'nothing'}: "
        "save the examples as x and their labels as y"
    )


def _part(path: Path, pair: Pair, arrays: dict[str, Array]) -> tuple[Array, list[str]]:
    """The examples and labels of one pair."""
    (x_name, y_name), x, y = pair, arrays[pair[0]], arrays[pair[1]]
    if x.ndim < 2 or x.dtype.kind not in _NUMBERS or 0 in x.shape[1:]:
        raise DataError(
            f"{path}: {x_name} must be numbers of shape (N, D), (N, T, D), (N, C, H, W) or another "
            f"with the examples on its first axis, got {x.dtype} of shape {x.shape}"
        )
    y = _one_number(y, len(x))
    if y.shape != x.shape[:1] or y.dtype.kind not in _NUMBERS + _TEXT:
        raise DataError(
            f"{path}: {y_name} must hold one number or text for each of the {len(x)} rows of "
            f"{x_name}, or a row of one-hot numbers, got {y.dtype} of shape {y.shape}"
        )
    check(path, _LABEL * len(y), f"{y_name} of {len(y):,} labels")
    if len(x) == 0:
        raise DataError(f"{path}: {x_name} and {y_name} have no rows")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
    wrong = _not_finite(x) | _not_finite(y)
    if wrong.any():
        row = int(wrong.argmax())
        of = "" if (x_name, y_name) == ("x", "y") else f" of {x_name} or {y_name}"
        raise DataError(f"{path}: row {row} (from 0){of} holds NaN or infinity: fill or drop it")
    try:
        return x, [str(label) for label in y.tolist()]
    except (SystemError, ValueError) as error:  # NumPy does not look whether text is characters
        raise unlike(path, f"{y_name} is damaged: it holds what is no character") from error


def _one_number(y: NDArray[Any], rows: int) -> NDArray[Any]:
    """Labels (N,), out of (N, 1) and out of one-hot (N, C); others as they are."""
    if y.ndim != 2 or len(y) != rows:
        return y
    if y.shape[1] == 1:
        return y[:, 0]
    if y.dtype.kind in _NUMBERS and len(y):
        one_hot = ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
        return y.argmax(axis=1) if one_hot else y
    return y


def _not_finite(array: Array) -> NDArray[np.bool_]:
    """Which rows (N,) of (N, ...) hold NaN or infinity."""
    if array.dtype.kind != "f":
        return np.zeros(len(array), bool)
    finite: NDArray[np.bool_] = np.isfinite(array).reshape(len(array), -1)
    return np.logical_not(finite.all(axis=1))
