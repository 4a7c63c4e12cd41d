"""What the tables share: the order of names, and standardisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def numbers_of(texts: Sequence[str]) -> list[float] | None:
    """The numbers that all texts are; None where one is none."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        return None
    return values if all(map(isfinite, values)) else None


def natural_order(names: Iterable[str]) -> list[str]:
    """Class names in order: by value where all are numbers, else as text.

    >>> natural_order(["10", "9", "1"]), natural_order(["b", "10", "9"])
    (['1', '9', '10'], ['10', '9', 'b'])
    """
    texts = sorted(names)
    values = numbers_of(texts)
    if values is None:
        return texts
    return [text for _, text in sorted(zip(values, texts, strict=True))]


def spelt(labels: Sequence[str]) -> list[str]:
    """Labels, numbers of equal value spelled alike if all are numbers.

    >>> spelt(["10", "9.0", "9"]), spelt(["9.0", "b"])
    (['10', '9', '9'], ['9.0', 'b'])
    """
    values = numbers_of(labels)
    if values is None:
        return list(labels)
    return [str(int(value)) if value.is_integer() else repr(value) for value in values]


def mean_and_std(x: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of the columns of x (N, D); 1 for a constant column."""
    wide = x.astype(np.float64)
    # a mean that is rounded gives a constant column a tiny deviation, which would blow it up
    std = np.where(x.max(axis=0) == x.min(axis=0), 1.0, wide.std(axis=0))
    return torch.from_numpy(wide.mean(axis=0)).float(), torch.from_numpy(std).float()
