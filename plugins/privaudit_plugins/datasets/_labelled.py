"""What the datasets that are one file share: the file, and features of any shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from privaudit import DataError
from privaudit.readers.door import expanded, kind
from privaudit.readers.file_path import sought
from privaudit.readers.npz import Array
from privaudit_plugins.datasets._tables import mean_and_std


def existing_file(path: str | Path) -> Path:
    """The absolute path of a file that is there.

    Raises:
        DataError: it is not, or nobody may see whether it is.
    """
    absolute = existing(path)
    if kind(absolute) == "folder":
        raise DataError(f"{absolute}: is a folder, and `path` should name a file")
    return absolute


def existing(path: str | Path, what: str = "file") -> Path:
    """The absolute path of a file or a folder that is there.

    Raises:
        DataError: it is not, or nobody may see whether it is.
    """
    absolute = expanded(path).absolute()
    if kind(absolute) == "nothing":
        raise DataError(f"{absolute}: no such {what}; {sought(path)}")
    return absolute


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
