"""Intervals cover what they claim to: against SciPy, exact enumeration and known answers."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, norm

from privaudit import metrics
from privaudit.errors import PrivauditError
from privaudit.statistics.advantage import advantage_interval
from privaudit.statistics.curve import roc_curve


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


@pytest.mark.parametrize("size", [200, 500])
@pytest.mark.parametrize("fpr", [0.1, 0.01])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_tpr_interval_covers_the_true_height_of_the_curve(
    size: int, fpr: float, shift: float
) -> None:
    # Clopper-Pearson at the threshold found covers 20 to 70 % of these.
    generator = np.random.default_rng(5)
    inside, audits = np.arange(2 * size) < size, 300
    truth = norm.cdf(shift + norm.ppf(fpr))
    low, high = 0, 0
    for _ in range(audits):
        estimate = metrics.tpr_at_fpr(generator.normal(size=2 * size) + shift * inside, inside, fpr)
        assert estimate is not None
        low, high = low + (estimate.low > truth), high + (estimate.high < truth)
    assert low + high <= binom.ppf(1 - 1e-3, audits, 0.05)
    assert high <= binom.ppf(1 - 1e-3, audits, 0.03)


def test_tpr_interval_covers_where_scores_tie() -> None:
    # Twenty values: the threshold that is right, of the uppermost one, is missed in half of the
    # audits, and the curve has no other point near it.
    generator = np.random.default_rng(6)
    inside, audits, missed = np.arange(1000) < 500, 300, 0
    truth = norm.cdf(1 + norm.ppf(0.05))
    for _ in range(audits):
        scores = np.floor(norm.cdf(generator.normal(size=1000) + inside) * 20)
        estimate = metrics.tpr_at_fpr(scores, inside, 0.05)
        assert estimate is not None
        missed += not estimate.low <= truth <= estimate.high
    assert missed <= binom.ppf(1 - 1e-3, audits, 0.06)


def test_tpr_limits_of_a_hand_made_audit() -> None:
    # 100 non-members at -1 to -100, rate 0.1: of 100 Bernoulli(0.1) draws fewer than 5 come with
    # 2.4 %, fewer than 6 with 5.8 %, fewer than 17 with 97.9 %, fewer than 16 with 96.0 %: the
    # threshold lies at the ranks 5 to 17. Members: 30 above all, 1 between any two from then on.
    assert binom.cdf([4, 5], 100, 0.1) == pytest.approx([0.0237, 0.0576], abs=1e-4)
    assert binom.cdf([15, 16], 100, 0.1) == pytest.approx([0.9601, 0.9794], abs=1e-4)
    members = np.concatenate((np.ones(30), -np.arange(1, 71) - 0.5))
    scores = np.concatenate((members, -np.arange(1.0, 101)))
    estimate = metrics.tpr_at_fpr(scores, np.arange(200) < 100, 0.1)
    # Above rank 5 are 30 + 4 members, above rank 11 (ten allowed) 40, above rank 17 46.
    shares = {hits: metrics.clopper_pearson(hits, 100) for hits in (34, 40, 46)}
    below = max(shares[hits].value - shares[hits].low for hits in (34, 40))
    above = max(shares[hits].high - shares[hits].value for hits in (40, 46))
    assert estimate is not None
    assert estimate.value == 0.40
    assert estimate.low == pytest.approx(0.40 - 0.01 - sqrt(below**2 + 0.05**2))
    assert estimate.high == pytest.approx(0.40 + 0.01 + sqrt(above**2 + 0.05**2))


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


def test_known_area_and_rate_of_shifted_gaussians() -> None:
    # AUC = Φ(d / √2) and TPR at FPR α = Φ(d + Φ⁻¹(α)), on the quantiles of both laws themselves.
    grid = (np.arange(20_000) + 0.5) / 20_000
    inside = np.arange(40_000) < 20_000
    for shift in (0.5, 1.5, 3.0):
        scores = np.concatenate((norm.ppf(grid) + shift, norm.ppf(grid)))
        area = metrics.roc_auc(scores, inside).value
        assert area == pytest.approx(norm.cdf(shift / sqrt(2)), abs=1e-4)
        for fpr in (0.1, 0.01, 0.001):
            found = metrics.tpr_at_fpr(scores, inside, fpr)
            assert found is not None
            assert found.value == pytest.approx(norm.cdf(shift + norm.ppf(fpr)), rel=0.03)


def test_bootstrap_of_few_groups_is_students_interval() -> None:
    # Groups' means 0.6, 0.7, 0.8: s = 0.1, and t of 2 degrees of freedom is 4.302653.
    values, groups = [0.5, 0.7, 0.7, 0.8, 0.8], ["a", "a", "b", "c", "c"]
    estimate = metrics.bootstrap_mean(values, groups)
    reach = 4.302653 * 0.1 / sqrt(3)
    expected = (0.7, 0.7 - reach, 0.7 + reach)
    np.testing.assert_allclose((estimate.value, estimate.low, estimate.high), expected, atol=1e-6)


def test_bootstrap_over_seeds_covers_where_targets_share_them() -> None:
    generator, missed, narrow, audits = np.random.default_rng(8), 0, 0, 200
    groups = np.repeat(np.arange(10), 4).tolist()
    for _ in range(audits):
        shared = np.repeat(generator.normal(size=10), 4)
        values = (shared + generator.normal(size=40)).tolist()
        estimate = metrics.bootstrap_mean(values, groups)
        missed += not estimate.low <= 0 <= estimate.high
        alone = metrics.bootstrap_mean(values)
        narrow += not alone.low <= 0 <= alone.high
    assert missed <= binom.ppf(1 - 1e-3, audits, 0.06)
    assert narrow > missed + 20  # as if the targets were 40 seeds: it misses one in five


def test_bootstrap_follows_skewness_and_survives_equal_values() -> None:
    estimate = metrics.bootstrap_mean([0.0, 0.01, 0.01, 0.02, 0.02, 0.03, 0.05, 0.1, 0.3])
    assert estimate.high - estimate.value > 1.5 * (estimate.value - estimate.low)
    assert metrics.bootstrap_mean([0.25] * 9) == metrics.Estimate(0.25, 0.25, 0.25)
    lonely = metrics.bootstrap_mean([0.0] * 9 + [1.0])  # resamples of zeros alone have no spread
    assert lonely.high == pytest.approx(0.1 + 2.262157 * 0.1, abs=1e-6)


def test_bootstrap_needs_two_groups() -> None:
    with pytest.raises(PrivauditError, match="give at least two"):
        metrics.bootstrap_mean([0.5, 0.6], ["a", "a"])
    with pytest.raises(PrivauditError, match="2 values need as many groups, got 1"):
        metrics.bootstrap_mean([0.5, 0.6], ["a"])


@pytest.mark.parametrize(("members", "non_members"), [(100, 100), (20, 200)])
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_advantage_interval_holds_although_its_threshold_is_the_best(
    members: int, non_members: int, shift: float
) -> None:
    rng = np.random.default_rng([members, int(10 * shift)])
    truth = 2 * norm.cdf(shift / 2) - 1  # of two normal laws
    inside = np.arange(members + non_members) < members
    missed = np.zeros(2)
    for _ in range(300):
        scores = rng.normal(size=len(inside)) + shift * inside
        interval = advantage_interval(roc_curve(scores, inside))
        assert interval.reversed == pytest.approx(
            min(1, advantage_interval(roc_curve(-scores, inside)).value + _band(members, inside))
        )
        missed += truth > interval.high, truth < interval.low
    assert (missed / 300 < 0.05).all()


def _band(members: int, inside: NDArray[np.bool_]) -> float:
    return float(np.sqrt(np.log(40) / 2 * (1 / members + 1 / (~inside).sum())))
