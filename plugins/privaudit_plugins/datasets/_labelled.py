"""What the datasets that are one file share: the file, its classes, and features of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from privaudit import DataError
from privaudit.readers.door import exists, expanded
from privaudit.readers.npz import Array
from privaudit_plugins.datasets._tables import encode_labels, mean_and_std


def existing_file(path: Path) -> Path:
    """The absolute path of a file that is there.

    Raises:
        DataError: it is not, or nobody may see whether it is.
    """
    absolute = expanded(path).absolute()
    if not exists(absolute):
        raise DataError(f"{absolute}: no such file; `path` is relative to the current folder")
    return absolute


def classes_of(path: Path, labels: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """The labels as (N,) int64, and the names of the 2 or more classes in natural order.

    Raises:
        DataError: there is one class only.
    """
    y, classes = encode_labels(labels)
    if len(classes) == 1:
        raise DataError(f"{path}: every label is {classes[0]!r}: an audit needs at least 2 classes")
    return y, classes


def features_of(x: Array, standardize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, ..., D) in float32, and the mean and deviation (D,) to standardise them with.

    Args:
        x: numbers of any type; what the last axis holds is the same thing everywhere, as a sensor
            in each step of a series.
        standardize: over all rows and, if there are any, all axes between; otherwise mean and
            deviation are 0 and 1.
    """
    narrow = x.astype(np.float32, copy=False)
    width = x.shape[-1]
    mean, std = torch.zeros(width), torch.ones(width)
    if standardize:
        mean, std = mean_and_std(narrow.reshape(-1, width))
    return torch.from_numpy(np.ascontiguousarray(narrow)), mean, std
