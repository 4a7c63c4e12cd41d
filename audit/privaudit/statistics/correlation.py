"""How two numbers go together over a few networks, and how sure that is.

All intervals are made on Fisher's z = artanh(r). None stands for what cannot be told: too few
networks, or a number that is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from math import atanh, inf, sqrt, tanh

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from privaudit.errors import PrivauditError
from privaudit.statistics.intervals import Estimate, check_confidence
from privaudit.statistics.midranks import midranks

_Numbers = NDArray[np.float64]
_ROUNDING = 1e-12  # a spread below this share of the numbers themselves is rounding


def pearson(
    x: ArrayLike,
    y: ArrayLike,
    *,
    given: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> Estimate | None:
    """Pearson's correlation of x and y, or their partial correlation given a third number.

    The variance of z is 1 / (n - 3), and 1 / (n - 3 - 1) for a partial correlation: Fisher 1921,
    "On the 'probable error' of a coefficient of correlation", and 1924, "The distribution of the
    partial correlation coefficient". It takes the n points as independent and normal. Points on
    one straight line leave the normal model no doubt, so that a correlation of 1 has the interval
    [1, 1].

    Where points come in clusters (levels of one network, networks of one seed) the interval is no
    narrower, on either side, than that of the jackknife which leaves out one cluster after the
    other, with Student's t of G - 1 degrees of freedom for G clusters: MacKinnon, Nielsen & Webb
    2023, "Fast and reliable jackknife and bootstrap methods for cluster-robust inference" (CV3).

    Args:
        x: (n,).
        y: (n,).
        given: (n,), what is held fixed.
        clusters: n labels, the same for points that are not independent; None, or one label
            alone, where there is nothing to tell clusters by.
        confidence: of the two-sided interval.

    Returns:
        None where n is below 4 (5 for a partial correlation), x or y is constant, or `given`
        determines one of them.

    >>> pearson([1, 2, 3, 4], [2, 1, 4, 3])
    Estimate(value=0.6, low=-0.852932..., high=0.990127...)
    >>> print(pearson([1, 1, 1, 1], [2, 1, 4, 3]))
    None

    Raises:
        PrivauditError: the lengths differ, or a number is NaN or infinite.
    """
    return _correlation(_columns(x, y, given), False, clusters, confidence)


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    given: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> Estimate | None:
    """Spearman's correlation, that of ranks (ties share their mean rank), simple or partial.

    The variance of z is (1 + r² / 2) / (n - 3): Bonett & Wright 2000, "Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations"; a number held fixed takes one more
    from n, as for `pearson`. Ranks that agree wholly would leave that formula no doubt, which n
    points cannot: the limit is then that of ranks with one pair of neighbours swapped. Otherwise
    as `pearson`, but that a partial correlation takes 6 points.

    >>> spearman([1, 2, 3, 4], [20, 1, 400, 30])
    Estimate(value=0.6, low=-0.892873..., high=0.992950...)
    >>> spearman([1, 2, 3, 4, 5], [1, 2, 3, 4, 50])
    Estimate(value=1.0, low=-0.168895..., high=1.0)
    """
    return _correlation(_columns(x, y, given), True, clusters, confidence)


def _columns(x: ArrayLike, y: ArrayLike, given: ArrayLike | None) -> _Numbers:
    """(2, n), or (3, n) with what is given."""
    columns = [np.asarray(side, float) for side in ((x, y) if given is None else (x, y, given))]
    shapes = [column.shape for column in columns]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise PrivauditError(f"a correlation takes as many numbers on each side, got {shapes}")
    stacked = np.stack(columns)
    if not np.isfinite(stacked).all():
        raise PrivauditError("a correlation takes finite numbers: leave out what is not known")
    return stacked


def _correlation(
    columns: _Numbers, ranked: bool, clusters: Sequence[Hashable] | None, confidence: float
) -> Estimate | None:
    check_confidence(confidence)
    fixed, count = len(columns) - 2, columns.shape[1]
    value = _coefficient(columns, ranked)
    # Five ranks with one number held fixed agree wholly by chance, too often for an interval.
    if value is None or count < 4 + fixed + (ranked and fixed):
        return None
    nearest = 1 - 12 / (count * (count**2 - 1)) if ranked else 1.0
    if abs(value) == 1 and not ranked:
        return Estimate(value, value, value)
    centre = atanh(max(-nearest, min(value, nearest)))
    factor = 1 + tanh(centre) ** 2 / 2 if ranked else 1.0
    reach = float(ndtri((1 + confidence) / 2)) * sqrt(factor / (count - 3 - fixed))
    if clusters is not None:
        reach = max(reach, _jackknife(columns, ranked, clusters, centre, confidence))
    low, high = tanh(centre - reach), tanh(centre + reach)
    return Estimate(value, min(low, value), max(high, value))


def _jackknife(
    columns: _Numbers,
    ranked: bool,
    clusters: Sequence[Hashable],
    centre: float,
    confidence: float,
) -> float:
    """How far the interval of z reaches to each side, going by its spread over clusters."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    group = np.array([numbers[label] for label in clusters])
    if len(group) != columns.shape[1]:
        raise PrivauditError(f"{len(group)} cluster labels for {columns.shape[1]} points")
    size = len(numbers)
    if size < 2:
        return 0.0
    left = [_coefficient(columns[:, group != number], ranked) for number in range(size)]
    if any(value is None or abs(value) == 1 for value in left):
        return inf
    squares = sum((atanh(value) - centre) ** 2 for value in left if value is not None)
    quantile = float(stdtrit(size - 1, (1 + confidence) / 2))
    return quantile * sqrt((size - 1) / size * squares)


def _coefficient(columns: _Numbers, ranked: bool) -> float | None:
    """The correlation of the first two, given the third where there is one."""
    if columns.shape[1] < 2:
        return None
    if (np.ptp(columns, 1) <= _ROUNDING * np.abs(columns).max(1)).any():
        return None
    if ranked:
        columns = midranks(columns, axis=1)
    centred = columns - columns.mean(1, keepdims=True)
    squares = (centred**2).sum(1)
    pairs = [
        float(np.clip(centred[a] @ centred[b] / sqrt(squares[a] * squares[b]), -1, 1))
        for a, b in combinations(range(len(columns)), 2)
    ]
    if len(pairs) == 1:
        value = pairs[0]
    else:
        both, first, second = pairs
        rest = (1 - first**2) * (1 - second**2)
        if rest <= _ROUNDING:
            return None
        value = (both - first * second) / sqrt(rest)
    # Rounding must not decide whether points lie on one line.
    return float(np.sign(value)) if abs(value) > 1 - _ROUNDING else value
