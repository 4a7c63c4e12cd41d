"""Anyone's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit.readers.npz import read_examples
from privaudit_plugins.datasets._csv import read_csv
from privaudit_plugins.datasets._labelled import classes_of, existing_file, features_of
from privaudit_plugins.datasets._tables import mean_and_std


class Table(privaudit.Dataset):
    """Rows of features with a label, from a CSV file (.csv, .gz, .xz, .bz2) or .npz.

    Features come in the order of the file, those encoded one-hot last.
    Standardisation uses all rows, members and non-members alike, so that the numbers tell
    nothing about who is which; columns encoded one-hot stay 0 and 1.
    In an .npz file x may have more axes, as series (N, T, D) have; the last one holds the features.
    Whole numbers are numbers here: for tokens, and for images, there is the dataset `arrays`.
    """

    name: Literal["table"] = "table"
    path: Path = Field(
        description="a CSV file whose first line names the columns, or .npz with x (N, D), or of "
        "more axes, and y (N)"
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
        """Features (N, D), or (N, ..., D) from an .npz file of more axes.

        Raises:
            DataError: the file is missing or cannot be used; the message names file and row.
        """
        path = existing_file(self.path)
        if path.suffix.lower() == ".npz":
            raw, labels = read_examples(path)
            x, mean, std = features_of(raw, self.standardize)
        else:
            numbers, encoded, labels = read_csv(path, self.label_column, self.categorical)
            x, mean, std = self._columns(numbers, encoded)
        y, classes = classes_of(path, labels)
        return privaudit.Examples(x=x, y=y, classes=classes, mean=mean, std=std)

    def _columns(
        self, numbers: NDArray[np.float32], encoded: NDArray[np.float32]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Columns (N, D), and their mean and deviation (D,): 0 and 1 for those encoded one-hot."""
        columns = numbers.shape[1] + encoded.shape[1]
        mean, std = torch.zeros(columns), torch.ones(columns)
        if self.standardize:
            mean[: numbers.shape[1]], std[: numbers.shape[1]] = mean_and_std(numbers)
        return torch.from_numpy(np.hstack([numbers, encoded])), mean, std


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Table]
