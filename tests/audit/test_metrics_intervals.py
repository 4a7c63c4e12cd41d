"""Intervals cover what they claim to: against SciPy, exact enumeration and known answers."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from privaudit import metrics
from privaudit.errors import PrivauditError


@settings(deadline=None)
@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_clopper_pearson_equals_scipy(trials: int, share: float, confidence: float) -> None:
    successes = round(share * trials)
    estimate = metrics.clopper_pearson(successes, trials, confidence)
    limits = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert estimate.value == successes / trials
    np.testing.assert_allclose((estimate.low, estimate.high), limits, atol=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (0, 0), (3, 2), (-1, 2)])
def test_a_share_needs_trials(successes: int, trials: int) -> None:
    with pytest.raises(PrivauditError, match="is not a share"):
        metrics.clopper_pearson(successes, trials)


def test_balanced_accuracy_interval_covers_by_exact_enumeration() -> None:
    members, non_members = 12, 20
    inside = np.arange(members + non_members) < members
    low, high = np.empty((2, members + 1, non_members + 1))
    for hits, rejections in product(range(members + 1), range(non_members + 1)):
        position = np.arange(members + non_members)
        decision = np.where(inside, position < hits, position - members >= rejections)
        estimate = metrics.balanced_accuracy(decision, inside)
        assert estimate.value == pytest.approx((hits / members + rejections / non_members) / 2)
        low[hits, rejections], high[hits, rejections] = estimate.low, estimate.high
    # Sums of shares from end to end, and the corner where few are called wrong.
    middle, corner = np.linspace(0, 1, 41), 1 - np.linspace(0, 0.1, 41)
    missed = []
    for true_positive, true_negative in [*product(middle, middle), *product(corner, corner)]:
        chance = np.outer(
            binom.pmf(np.arange(members + 1), members, true_positive),
            binom.pmf(np.arange(non_members + 1), non_members, true_negative),
        )
        truth = (true_positive + true_negative) / 2
        missed.append(chance[(low > truth + 1e-12) | (high < truth - 1e-12)].sum())
    assert max(missed) <= 0.08
    assert np.mean(missed) <= 0.05


@pytest.mark.parametrize(
    ("shift", "members", "non_members"), [(0.0, 60, 60), (0.5, 40, 120), (1.5, 100, 50)]
)
def test_delong_interval_covers_the_known_area_of_shifted_gaussians(
    shift: float, members: int, non_members: int
) -> None:
    generator = np.random.default_rng(7)
    inside = np.arange(members + non_members) < members
    area, audits = norm.cdf(shift / sqrt(2)), 1000
    covered = 0
    for _ in range(audits):
        estimate = metrics.roc_auc(generator.normal(size=len(inside)) + shift * inside, inside)
        covered += estimate.low <= area <= estimate.high
    # Outside these limits with a chance of 1e-4 were the coverage 95 % to the point; one per
    # cent more of room, as DeLong's variance is right for many examples only.
    fewest, most = (binom.ppf(chance, audits, 0.95) for chance in (5e-5, 1 - 5e-5))
    assert fewest - 10 <= covered <= most + 10


@pytest.mark.parametrize("shift", [3.0, 4.0])
def test_interval_of_an_almost_perfect_attack_still_covers(shift: float) -> None:
    # Where DeLong's variance is tiny or 0, and its plain interval covers 84 % (measured).
    generator = np.random.default_rng(3)
    inside = np.arange(100) < 50
    area, audits = norm.cdf(shift / sqrt(2)), 500
    missed = 0
    for _ in range(audits):
        estimate = metrics.roc_auc(generator.normal(size=100) + shift * inside, inside)
        missed += not estimate.low <= area <= estimate.high
    assert missed <= binom.ppf(1 - 1e-3, audits, 0.05)


def test_constant_yes_or_no_scores_keep_their_claim() -> None:
    # Five against five, each 1 with chance q or r: all ten equal is the only case without a
    # variance, and its interval may miss the true area with a chance of 2.5 % a side.
    alike = metrics.roc_auc(np.zeros(10), np.arange(10) < 5)
    for q, r in product(np.linspace(0, 1, 101), repeat=2):
        area = (1 + q - r) / 2
        if not alike.low <= area <= alike.high:
            assert (q * r) ** 5 + ((1 - q) * (1 - r)) ** 5 <= 0.025


def test_one_example_of_a_side_gives_no_interval_to_speak_of() -> None:
    assert metrics.roc_auc([1, 0, 2], [True, False, False]) == metrics.Estimate(0.5, 0.0, 1.0)


def test_tpr_at_fpr_estimates_the_known_rate_of_shifted_gaussians() -> None:
    generator = np.random.default_rng(1)
    inside = np.arange(200_000) < 100_000
    scores = generator.normal(size=len(inside)) + 1.5 * inside
    for fpr in (0.1, 0.01, 0.001):
        estimate = metrics.tpr_at_fpr(scores, inside, fpr)
        truth = norm.cdf(1.5 + norm.ppf(fpr))
        # The threshold is fpr's quantile of the non-members: its spread, through the slope of
        # the curve, beside that of the members; four standard deviations.
        slope = norm.pdf(1.5 + norm.ppf(fpr)) / norm.pdf(norm.ppf(fpr))
        deviation = sqrt((truth * (1 - truth) + slope**2 * fpr * (1 - fpr)) / 100_000)
        assert estimate is not None
        assert abs(estimate.value - truth) < 4 * deviation


def test_tpr_interval_covers_the_rate_at_the_threshold_that_non_members_set() -> None:
    generator = np.random.default_rng(5)
    inside, audits, covered = np.arange(400) < 200, 500, 0
    for _ in range(audits):
        scores = generator.normal(size=400) + inside
        estimate = metrics.tpr_at_fpr(scores, inside, 0.05)
        truth = norm.sf(np.sort(scores[~inside])[-11] - 1)  # above it, 10 of 200 non-members
        assert estimate is not None
        covered += estimate.low <= truth <= estimate.high
    assert covered >= binom.ppf(1e-3, audits, 0.95)


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_spread_over_seeds_divides_by_one_less_than_their_number(values: list[float]) -> None:
    mean, std = metrics.mean_std(values)
    expected = sum(values) / len(values)
    assert mean == pytest.approx(expected, abs=1e-9)
    variance = sum((value - expected) ** 2 for value in values) / (len(values) - 1)
    assert std == pytest.approx(sqrt(variance), abs=1e-9)


def test_one_seed_has_no_spread_and_none_is_an_error() -> None:
    assert metrics.mean_std([0.7]) == (0.7, None)
    with pytest.raises(PrivauditError, match="at least one seed"):
        metrics.mean_std([])


def test_significant_means_that_the_two_intervals_do_not_meet() -> None:
    assert metrics.disjoint(0.5, 0.125, 1.0, 0.25)
    assert metrics.disjoint(1.0, 0.25, 0.5, 0.125)
    assert not metrics.disjoint(0.5, 0.25, 1.0, 0.25)  # they touch at 0.75
    assert not metrics.disjoint(0.5, 0.5, 0.75, 0.0)  # one inside the other
    assert not metrics.disjoint(0.0, None, 1.0, 0.0)
