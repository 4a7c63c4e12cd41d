"""The tail of losses: against counting, enumeration and simulated audits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from privaudit.errors import PrivauditError
from privaudit.statistics.tail import LEVELS, exceedance_p, loss_tail


def _by_hand(losses: list[float], members: list[bool], allowed: int) -> int:
    """Non-members above the loss that all members but so many stay at or below."""
    pairs = list(zip(losses, members, strict=True))
    threshold = sorted((loss for loss, inside in pairs if inside), reverse=True)[allowed]
    return sum(loss > threshold for loss, inside in pairs if not inside)


@pytest.mark.parametrize("ties", [False, True])
def test_the_tail_is_counted_as_by_hand(ties: bool) -> None:
    rng = np.random.default_rng(3)
    losses = rng.exponential(size=2500) + 0.3 * (np.arange(2500) % 2)
    if ties:
        losses = losses.round(1)
    members = np.arange(2500) % 2 == 0
    tail = loss_tail(losses, members)
    assert [level.fnr for level in tail.levels] == [0.01, 0.001]
    for level, allowed in zip(tail.levels, (12, 1), strict=True):
        beyond = _by_hand(losses.tolist(), members.tolist(), allowed)
        assert (level.allowed, level.beyond) == (allowed, beyond)
        assert level.tnr is not None
        assert level.tnr.value == beyond / 1250
        assert level.tnr.low <= level.tnr.value <= level.tnr.high


def test_the_chance_is_that_of_all_ways_to_choose_the_members() -> None:
    for allowed in (0, 1, 2):
        for beyond in range(5):
            ways = list(combinations(range(9), 5))  # 5 members and 4 others, by rank from the top
            hits = 0
            for inside in ways:
                threshold = sorted(inside)[allowed]
                hits += sum(rank < threshold for rank in range(9) if rank not in inside) >= beyond
            assert exceedance_p(5, 4, allowed, beyond) == pytest.approx(hits / len(ways))


def test_the_chance_is_a_hypergeometric_count() -> None:
    for m, n, k, b in ((1500, 1500, 15, 60), (700, 3000, 7, 90), (100, 50, 1, 3)):
        expected = stats.hypergeom.cdf(k, m + n, m, k + b)
        assert exceedance_p(m, n, k, b) == pytest.approx(expected, rel=1e-6)


def test_the_chance_counts_both_levels() -> None:
    rng = np.random.default_rng(8)
    members = np.arange(2400) < 1200
    tail = loss_tail(rng.exponential(size=2400) + 0.1 * ~members, members)
    chances = [
        stats.hypergeom.cdf(level.allowed, 2400, 1200, level.allowed + level.beyond)
        for level in tail.levels
    ]
    assert 0 < tail.p_value < 1
    assert tail.p_value == pytest.approx(2 * min(chances), rel=1e-6)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_joins_order_statistics_and_clopper_pearson(confidence: float) -> None:
    """A quarter of the error for each: the threshold's two ends, and the share's two."""
    rng = np.random.default_rng(9)
    members = np.arange(3500) < 2000
    losses = rng.exponential(size=3500) + 0.8 * ~members
    inside, quarter = np.sort(losses[members])[::-1], (1 - confidence) / 4
    for level in loss_tail(losses, members, confidence=confidence).levels:
        ranks = np.arange(1, 2001)
        fewer = stats.binom.cdf(ranks - 1, 2000, level.fnr)  # fewer than so many lie above
        strict = ranks[fewer <= quarter].max(initial=0)
        loose = ranks[1 - fewer <= quarter].min()
        high = (losses[~members] > inside[loose - 1]).sum()
        low = (losses[~members] > inside[strict - 1]).sum() if strict else 0
        limits = (
            stats.beta.ppf(quarter, low, 1501 - low) if low else 0.0,
            stats.beta.ppf(1 - quarter, high + 1, 1500 - high),
        )
        assert level.tnr is not None
        assert (level.tnr.low, level.tnr.high) == pytest.approx(limits)


@pytest.mark.parametrize("values", [0, 40])
def test_noise_seldom_seems_to_leak(values: int) -> None:
    """At 5 %, over both levels and whether or not losses tie."""
    rng = np.random.default_rng(11)
    members = np.arange(2400) < 1200
    alarms = 0
    for _ in range(400):
        losses = rng.standard_normal(2400)
        losses = np.floor(losses * values) if values else losses
        alarms += loss_tail(losses, members).p_value < 0.05
    assert alarms <= stats.binom.ppf(0.999, 400, 0.05)


def test_the_interval_holds_the_true_share() -> None:
    """Members exp(1), others exp(1) + 1: the share above the (1 - f) quantile is e f."""
    rng = np.random.default_rng(5)
    members = np.arange(3000) < 1500
    held = np.zeros(2)
    for _ in range(200):
        tail = loss_tail(rng.exponential(size=3000) + ~members, members)
        for at, level in enumerate(tail.levels):
            assert level.tnr is not None
            held[at] += level.tnr.low <= np.e * LEVELS[at] <= level.tnr.high
    assert (held >= 190).all()  # it is conservative: 95 % at the least


def test_a_tie_with_the_highest_member_is_not_above_it() -> None:
    members = np.arange(400) < 200
    tail = loss_tail(np.ones(400), members)
    assert [level.beyond for level in tail.levels] == [0, 0]
    assert tail.p_value == 1.0
    infinite = loss_tail(np.where(np.arange(400) > 100, np.inf, 1.0), members)
    assert infinite.levels[0].beyond == 0


def test_members_that_lose_more_are_no_tail() -> None:
    losses = np.where(np.arange(400) < 200, 5.0, 1.0)
    tail = loss_tail(losses, np.arange(400) < 200)
    assert tail.p_value == 1.0


def test_few_members_resolve_no_low_rate() -> None:
    tail = loss_tail(np.arange(198.0), np.arange(198) < 99)
    assert [level.tnr for level in tail.levels] == [None, None]
    assert tail.p_value < 1e-20
    assert loss_tail(np.arange(200.0), np.arange(200) < 100).levels[0].tnr is not None


@pytest.mark.parametrize("confidence", [0, 1, 1.5])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(PrivauditError, match="confidence must be between 0 and 1"):
        loss_tail([1, 2], [True, False], confidence=confidence)


def test_sides_and_numbers_are_looked_at() -> None:
    with pytest.raises(PrivauditError, match="score 1 is NaN"):
        loss_tail([1, np.nan], [True, False])
    with pytest.raises(PrivauditError, match="all 2 examples are members"):
        loss_tail([1, 2], [True, True])
    with pytest.raises(PrivauditError, match="is no tail"):
        exceedance_p(5, 5, 5, 1)
