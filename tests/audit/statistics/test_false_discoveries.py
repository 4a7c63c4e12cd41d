"""Lists with a bound on their false ones: against SciPy, by hand, and in simulated games."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privaudit.errors import PrivauditError
from privaudit.statistics.false_discoveries import (
    benjamini_hochberg,
    conformal_p,
    shortest_list,
)


def test_p_values_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    scores, known = rng.integers(0, 9, 50), rng.integers(0, 9, 30)  # many ties
    expected = [(1 + sum(other >= score for other in known)) / 31 for score in scores]
    assert conformal_p(scores, known).tolist() == expected
    assert conformal_p([np.inf, -np.inf], [1.0, np.inf]).tolist() == [2 / 3, 1.0]


def test_the_list_is_scipys() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 2, 50):
        for level in (0.01, 0.1, 0.5):
            p_values = rng.random(size) ** 3
            expected = stats.false_discovery_control(p_values) <= level
            assert benjamini_hochberg(p_values, level).tolist() == expected.tolist()
            halved = stats.false_discovery_control(p_values * 0.5) <= level
            found = benjamini_hochberg(p_values, level, null_share=0.5)
            assert found.tolist() == halved.tolist()


def test_a_p_value_at_the_limit_is_on_the_list() -> None:
    for tested in (10, 30, 70, 100):
        p_values = np.full(tested, 1 / 10)
        assert benjamini_hochberg(p_values, 0.1).all()
        assert not benjamini_hochberg(np.full(tested, 0.1001), 0.1).any()


def test_the_shortest_list_is_the_first_that_can_be_made() -> None:
    for tested, known, level, share in ((100, 99, 0.1, 1.0), (40, 30, 0.2, 0.5), (7, 19, 0.05, 1)):
        least = shortest_list(tested, known, level, share)
        assert least is not None
        for count in range(1, tested + 1):
            p_values = np.where(np.arange(tested) < count, 1 / (known + 1), 1.0)
            assert benjamini_hochberg(p_values, level, share).any() == (count >= least)
    assert shortest_list(100, 8, 0.1) is None
    assert not benjamini_hochberg(np.full(100, 1 / 9), 0.1).any()


def _false_share(
    rng: np.random.Generator, known: int, ties: int, level: float, use_share: bool
) -> float:
    """The share of false ones on one list: members score higher, by one deviation."""
    members, others = 60, 40
    inside = np.arange(members + others) < members

    def drawn(count: int, mean: NDArray[np.bool_] | int) -> NDArray[np.float64]:
        scores = rng.standard_normal(count) + mean
        return np.floor(scores * ties) if ties else scores

    p_values = conformal_p(drawn(len(inside), inside), drawn(known, 0))
    chosen = benjamini_hochberg(p_values, level, others / len(inside) if use_share else 1.0)
    return float((chosen & ~inside).sum() / max(chosen.sum(), 1))


@pytest.mark.parametrize("use_share", [False, True])
@pytest.mark.parametrize("ties", [0, 1, 3])
@pytest.mark.parametrize("known", [5, 20, 200])
def test_the_share_of_false_ones_is_bounded(known: int, ties: int, use_share: bool) -> None:
    rng = np.random.default_rng(known + ties)
    shares = np.array([_false_share(rng, known, ties, 0.2, use_share) for _ in range(600)])
    assert shares.mean() <= 0.2 + 3 * shares.std() / 600**0.5


def test_scores_that_are_not_exchangeable_break_the_bound() -> None:
    """What the simulation above could not see if it could see nothing."""
    rng = np.random.default_rng(0)
    inside = np.arange(100) < 60
    shares = []
    for _ in range(200):
        p_values = conformal_p(rng.standard_normal(100) + inside, rng.standard_normal(50) - 1)
        chosen = benjamini_hochberg(p_values, 0.2, 0.4)
        shares.append((chosen & ~inside).sum() / max(chosen.sum(), 1))
    assert np.mean(shares) > 0.3


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(PrivauditError, match="without examples that are known"):
        conformal_p([1.0], [])
    for level in (0, 1, np.nan):
        with pytest.raises(PrivauditError, match="above 0 and below 1"):
            benjamini_hochberg([0.1], level)
    with pytest.raises(PrivauditError, match="share of non-members"):
        benjamini_hochberg([0.1], 0.1, 0)
    with pytest.raises(PrivauditError, match="from 0 to 1"):
        benjamini_hochberg([0.1, np.nan], 0.1)
    assert benjamini_hochberg([], 0.1).tolist() == []
