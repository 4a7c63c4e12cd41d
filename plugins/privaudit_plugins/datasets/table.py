"""Anyone's own table."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import privaudit
from privaudit import DataError
from privaudit_plugins.datasets._csv import read_csv
from privaudit_plugins.datasets._tables import encode_labels, mean_and_std


def _read_npz(path: Path) -> tuple[NDArray[np.float32], list[str]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error
    for name in ("x", "y"):
        if name not in arrays:
            held = ", ".join(sorted(arrays)) or "nothing"
            raise DataError(f"{path}: there is no array {name!r}; it holds {held}")
    x, y = arrays["x"], arrays["y"]
    if x.ndim != 2 or x.dtype.kind not in "biuf" or x.shape[1] == 0:
        raise DataError(f"{path}: x must be numbers of shape (N, D), got {x.dtype} {x.shape}")
    if y.shape != x.shape[:1] or y.dtype.kind not in "biufU":
        raise DataError(
            f"{path}: y must hold one number or text for each of the {len(x)} rows of x, "
            f"got {y.dtype} of shape {y.shape}"
        )
    if len(x) == 0:
        raise DataError(f"{path}: x and y have no rows")
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    wrong = ~np.isfinite(narrow).all(axis=1)
    if y.dtype.kind == "f":
        wrong |= ~np.isfinite(y)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: row {row} (from 0) holds NaN or infinity: fill it or drop it")
    return narrow, [str(label) for label in y.tolist()]


class Table(privaudit.Dataset):
    """Rows of features with a label, from a CSV file (.csv, .gz, .xz, .bz2) or .npz.

    Features come in the order of the file, those encoded one-hot last.
    Standardisation uses all rows, members and non-members alike, so that the numbers tell
    nothing about who is which; columns encoded one-hot stay 0 and 1.
    """

    name: Literal["table"] = "table"
    path: Path = Field(
        description="a CSV file whose first line names the columns, or .npz with x (N, D) and y (N)"
    )
    label_column: str | int = Field(
        "label", description="of a CSV file: name, or index from 0 (-1: the last)"
    )
    categorical: tuple[str, ...] = Field(
        (), description="columns of a CSV file to encode one-hot; all others must be numbers"
    )
    standardize: bool = Field(
        True, description="give each numeric column mean 0 and deviation 1 over all rows"
    )

    def load(self, root: Path) -> privaudit.Examples:
        """Features (N, D).

        Raises:
            DataError: the file is missing or cannot be used; the message names file and row.
        """
        path = self.path.expanduser().absolute()
        if not path.is_file():
            raise DataError(f"{path}: no such file; `path` is relative to the current folder")
        if path.suffix.lower() == ".npz":
            numbers, labels = _read_npz(path)
            encoded = np.empty((len(numbers), 0), np.float32)
        else:
            numbers, encoded, labels = read_csv(path, self.label_column, self.categorical)
        return self._examples(path, numbers, encoded, labels)

    def _examples(
        self,
        path: Path,
        numbers: NDArray[np.float32],
        encoded: NDArray[np.float32],
        labels: Sequence[str],
    ) -> privaudit.Examples:
        y, classes = encode_labels(labels)
        if len(classes) == 1:
            raise DataError(
                f"{path}: every label is {classes[0]!r}: an audit needs at least 2 classes"
            )
        columns = numbers.shape[1] + encoded.shape[1]
        mean, std = torch.zeros(columns), torch.ones(columns)
        if self.standardize:
            mean[: numbers.shape[1]], std[: numbers.shape[1]] = mean_and_std(numbers)
        x = torch.from_numpy(np.hstack([numbers, encoded]))
        return privaudit.Examples(x=x, y=y, classes=classes, mean=mean, std=std)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Table]
