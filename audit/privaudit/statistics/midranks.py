"""Ranks of numbers, some of which are equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def midranks(values: ArrayLike, axis: int | None = None) -> NDArray[np.float64]:
    """Each number's rank from 1, equal ones their mean rank; along an axis, or of all, flat."""
    from scipy.stats import rankdata  # a second to import: every process would wait for it

    return np.asarray(rankdata(values, axis=axis), np.float64)
