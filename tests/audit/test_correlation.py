from __future__ import annotations

from collections.abc import Callable
from math import asin, atanh, pi, sqrt, tanh
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privaudit.errors import PrivauditError
from privaudit.statistics.correlation import pearson, spearman
from privaudit.statistics.intervals import Estimate

Correlate = Callable[..., Estimate | None]


def _both(rho: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, count) normal numbers of correlation rho."""
    x, noise = rng.standard_normal((2, count))
    return np.stack([x, rho * x + sqrt(1 - rho**2) * noise])


def _known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_pearson_and_its_interval_are_those_of_scipy(confidence: float) -> None:
    x, y = _both(0.4, 15, np.random.default_rng(0))
    theirs = stats.pearsonr(x, y)
    low, high = theirs.confidence_interval(confidence)
    found = _known(pearson(x, y, confidence=confidence))
    assert (found.value, found.low, found.high) == pytest.approx((theirs.statistic, low, high))


def test_spearman_with_ties_is_that_of_scipy_with_the_interval_of_bonett_and_wright() -> None:
    x, y = [1, 2, 2, 3, 5, 5, 5, 8], [2, 1, 3, 3, 9, 4, 9, 7]
    rho = stats.spearmanr(x, y).statistic
    reach = 1.959963985 * sqrt((1 + rho**2 / 2) / (8 - 3))
    found = _known(spearman(x, y))
    assert found.value == pytest.approx(rho)
    assert (found.low, found.high) == pytest.approx(
        (tanh(atanh(rho) - reach), tanh(atanh(rho) + reach))
    )


@pytest.mark.parametrize("ranked", [False, True])
def test_a_partial_correlation_is_that_of_the_residuals(ranked: bool) -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal(20)
    x, y = z + rng.standard_normal(20), -2 * z + rng.standard_normal(20)
    found = _known((spearman if ranked else pearson)(x, y, given=z))
    columns = [stats.rankdata(c) if ranked else c for c in (x, y, z)]
    rest = [c - np.polyval(np.polyfit(columns[2], c, 1), columns[2]) for c in columns[:2]]
    value = stats.pearsonr(*rest).statistic
    reach = 1.959963985 * sqrt((1 + ranked * value**2 / 2) / (20 - 3 - 1))
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(
        (tanh(atanh(value) - reach), tanh(atanh(value) + reach))
    )


def test_fishers_example_of_a_partial_correlation() -> None:
    # r12 = 0.5, r13 = 0.6, r23 = 0.7: (0.5 - 0.42) / sqrt(0.64 * 0.51), by hand.
    root = np.linalg.cholesky([[1, 0.5, 0.6], [0.5, 1, 0.7], [0.6, 0.7, 1]])
    basis, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((12, 4)) @ np.eye(4))
    centred = np.linalg.qr(np.column_stack([np.ones(12), basis[:, 1:]]))[0][:, 1:]
    x, y, z = root @ centred.T
    assert _known(pearson(x, y, given=z)).value == pytest.approx(0.08 / sqrt(0.64 * 0.51))


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_what_cannot_be_told_is_none(correlate: Correlate) -> None:
    four, five = [1.0, 2, 4, 3], [1.0, 2, 4, 3, 9]
    assert correlate(four[:3], [1, 3, 2]) is None
    assert correlate(four, [2, 1, 3, 4]) is not None
    assert correlate(four, [0.1] * 4) is None
    assert correlate([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2], four) is None  # one number, rounded twice
    assert correlate(four, [2, 1, 3, 4], given=[5, 7, 6, 9]) is None  # too few
    assert correlate([*five, 5], [2, 1, 3, 4, 9, 0], given=[*five, 5]) is None  # nothing is left
    assert correlate([*five, 5], [2, 1, 3, 4, 9, 0], given=[1] * 6) is None
    assert correlate([], []) is None


def test_ranks_that_agree_wholly_leave_a_doubt() -> None:
    found = _known(spearman(range(6), [1, 2, 3, 4, 5, 60]))
    nearest = 1 - 6 * 2 / (6 * 35)  # Spearman's formula with two neighbours swapped: sum d² = 2
    reach = 1.959963985 * sqrt((1 + nearest**2 / 2) / 3)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(tanh(atanh(nearest) - reach))
    assert _known(spearman(range(6), range(6, 0, -1))).high == pytest.approx(-found.low)


def test_a_cluster_jackknife_widens_the_interval() -> None:
    x = [1.0, 2, 3, 4, 5, 6, 7, 8, 9]
    y = [2.0, 1, 4, 3, 9, 5, 8, 6, 7]
    labels = list("aaabbbccc")
    left = [
        stats.pearsonr([v for v, g in zip(x, labels, strict=True) if g != out],
                       [v for v, g in zip(y, labels, strict=True) if g != out]).statistic
        for out in "abc"
    ]  # fmt: skip
    z = atanh(stats.pearsonr(x, y).statistic)
    reach = 4.302653 * sqrt(2 / 3 * sum((atanh(r) - z) ** 2 for r in left))  # t of 2 degrees
    found = _known(pearson(x, y, clusters=labels))
    assert reach > 1.96 / sqrt(6)
    assert (found.low, found.high) == pytest.approx((tanh(z - reach), tanh(z + reach)), abs=1e-6)
    assert pearson(x, y, clusters=["a"] * 9) == pearson(x, y)


def test_clusters_that_cannot_do_without_each_other_leave_everything_open() -> None:
    found = _known(pearson([1, 1, 1, 2, 3], [1, 2, 3, 5, 4], clusters=[0, 0, 0, 1, 1]))
    assert (found.low, found.high) == (-1, 1)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([1, 2, 3, 4], [1, 2, 3], {}, "as many numbers on each side"),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], {}, "as many numbers on each side"),
        ([1, 2, 3, float("nan")], [1, 2, 3, 4], {}, "finite numbers"),
        ([1, 2, 3, 4], [2, 1, 3, 4], {"clusters": [1, 2]}, "2 cluster labels for 4 points"),
        ([1, 2, 3, 4], [2, 1, 3, 4], {"confidence": 95}, "confidence must be between 0 and 1"),
    ],
)
def test_wrong_input_is_refused(x: Any, y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PrivauditError, match=message):
        pearson(x, y, **options)


def _binomial_floor(share: float, trials: int) -> float:
    """Below this lies the observed share of successes once in a thousand times."""
    return share - NormalDist().inv_cdf(0.999) * sqrt(share * (1 - share) / trials)


@pytest.mark.parametrize(("rho", "count"), [(0.0, 8), (0.8, 8), (0.5, 30)])
@pytest.mark.parametrize("partial", [False, True])
def test_intervals_cover_at_their_nominal_rate(rho: float, count: int, partial: bool) -> None:
    rng = np.random.default_rng(round(10 * rho) + count)
    trials, plain, ranked = 400, 0, 0

    def spearmans(r: float) -> float:  # of normal numbers; Pearson 1907
        return 6 / pi * asin(r / 2)

    xy, xz, yz = (rho - 0.6) / sqrt(2 * 1.36), 1 / sqrt(2), -0.6 / sqrt(1.36)
    a, b, c = map(spearmans, (xy, xz, yz))
    true = (a - b * c) / sqrt((1 - b**2) * (1 - c**2)) if partial else spearmans(rho)
    for _ in range(trials):
        (x, y), z = _both(rho, count, rng), rng.standard_normal(count)
        if partial:
            x, y = x + z, y - 0.6 * z
        given = z if partial else None
        first, second = _known(pearson(x, y, given=given)), spearman(x, y, given=given)
        plain += first.low <= rho <= first.high
        # Where the ranks of x are those of z, nothing is claimed.
        ranked += second is None or second.low <= true <= second.high
    assert _binomial_floor(0.95, trials) <= plain / trials <= 0.985
    assert ranked / trials >= _binomial_floor(0.95, trials)


def test_clustered_intervals_cover_where_points_are_not_independent() -> None:
    rng = np.random.default_rng(5)
    trials, rho, labels = 300, 0.5, np.repeat(range(5), 8)
    alone = together = 0
    for _ in range(trials):
        shared, own = _both(rho, 5, rng)[:, labels], _both(rho, 40, rng)
        x, y = sqrt(0.7) * shared + sqrt(0.3) * own
        first, second = _known(pearson(x, y)), _known(pearson(x, y, clusters=labels.tolist()))
        alone += first.low <= rho <= first.high
        together += second.low <= rho <= second.high
    assert alone / trials < 0.75  # what the clusters are for
    assert together / trials >= _binomial_floor(0.95, trials)
