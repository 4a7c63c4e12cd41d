"""Whether labels and answers number the classes differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri


def other_names(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64] | None:
    """What answers call each class, where far more would be right if it were called so.

    Of the classes that move, most examples are called by the new name, twice as many as by their
    own, and by a sign test with a chance below 1e-6.

    Args:
        labels: (n,) of examples that the network was trained on.
        predicted: (n,).
        classes: C.

    Returns:
        (C,) for each label the class that is predicted instead; None where labels and answers go
        together as they are, or as well.
    """
    table = np.bincount(labels * classes + predicted, minlength=classes**2)
    table = table.reshape(classes, classes)
    from scipy.optimize import linear_sum_assignment  # slow to import, and seldom needed

    name = linear_sum_assignment(-table)[1]
    moved = name != np.arange(classes)
    here, there = table.diagonal()[moved], table[np.arange(classes), name][moved]
    better = there >= 2 * here
    size = table.sum(1)[moved][better].sum()
    here, there = int(here[better].sum()), int(there[better].sum())
    clear = there > size / 2 and (there - here) / np.sqrt(there + here) > -ndtri(1e-6)
    return np.asarray(name) if clear else None
