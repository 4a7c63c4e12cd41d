"""Means over audits that share examples and networks: identities, double loops and coverage."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm, t

from privaudit import metrics
from privaudit.statistics.inference import Audit, PerExample, mean_of_audits
from privaudit.statistics.inference.audits import correlations
from privaudit.statistics.intervals import Estimate

Z = norm.ppf(0.975)
tied = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.inf])


def _per_example(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> PerExample:
    return PerExample(scores, members, scores > 0)


def _symmetric(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


@settings(deadline=None, max_examples=40)
@given(st.lists(tied, min_size=2, max_size=20), st.lists(tied, min_size=2, max_size=20))
def test_auc_influence_sums_to_delongs_variance(inside: list[float], outside: list[float]) -> None:
    scores = np.array(inside + outside)
    members = np.arange(len(scores)) < len(inside)
    won = np.array([[(a > b) + (a == b) / 2 for b in outside] for a in inside])
    influence = _per_example(scores, members).auc()
    by_hand = won.mean(1).var(ddof=1) / len(inside) + won.mean(0).var(ddof=1) / len(outside)
    assert (influence**2).sum() == pytest.approx(by_hand, abs=1e-12)
    assert influence[members].sum() == pytest.approx(0, abs=1e-12)
    assert influence[~members].sum() == pytest.approx(0, abs=1e-12)


def test_influence_is_what_leaving_an_example_out_changes() -> None:
    rng = np.random.default_rng(0)
    scores, members = rng.normal(size=60), np.arange(60) < 25
    decision = scores > 0
    influence = PerExample(scores, members, decision)
    accuracy = influence.accuracy()
    assert accuracy is not None
    whole = (
        metrics.roc_auc(scores, members).value,
        metrics.balanced_accuracy(decision, members).value,
    )
    for row in (0, 7, 30, 59):
        left = np.arange(60) != row
        count = members.sum() if members[row] else (~members).sum()
        scale = sqrt(count * (count - 1)) / (count - 1)  # from the influence to the change
        auc = metrics.roc_auc(scores[left], members[left]).value
        share = metrics.balanced_accuracy(decision[left], members[left]).value
        assert whole[0] - auc == pytest.approx(influence.auc()[row] * scale)
        assert whole[1] - share == pytest.approx(accuracy[row] * scale)


def test_tpr_influence_has_the_variance_of_repeated_audits() -> None:
    rng = np.random.default_rng(1)
    members, values, squares = np.arange(800) < 400, [], []
    for _ in range(300):
        examples = _per_example(rng.normal(size=800) + members, members)
        estimate, influence = examples.roc.tpr_at_fpr(0.1), examples.tpr(0.1)
        assert estimate is not None
        assert influence is not None
        values.append(estimate.value)
        squares.append(float((influence**2).sum()))
        highest = np.argsort(examples.scores - 100 * members)[-1]
        assert influence[highest] < 0  # without the highest non-member the threshold would fall
    assert sqrt(np.mean(squares)) == pytest.approx(np.std(values), rel=0.12)
    assert _per_example(rng.normal(size=8), np.arange(8) < 4).tpr(0.1) is None


@pytest.mark.parametrize("seeds", [1, 2, 16])
def test_one_network_audited_again_and_again_is_one_network(seeds: int) -> None:
    rng = np.random.default_rng(2)
    scores, members, names = rng.normal(size=300), np.arange(300) < 100, rng.permutation(900)[:300]
    examples = _per_example(scores + members, members)
    once = examples.roc.auc()
    audits = [
        Audit(seed, 0, once, names[order], members[order], examples.auc()[order])
        for seed in range(seeds)
        for order in [rng.permutation(300)]
    ]
    many = mean_of_audits(audits)
    assert (many.value, many.low, many.high) == pytest.approx((once.value, once.low, once.high))
    blind = [Audit(seed, 0, once) for seed in range(seeds)]
    told = mean_of_audits(blind, shared=True)  # nothing but "a target that is given"
    assert (told.low, told.high) == pytest.approx((once.low, once.high))


def test_audits_that_share_nothing_average_out() -> None:
    rng = np.random.default_rng(3)
    audits, variance = [], 0.0
    for seed in range(6):
        influence = rng.normal(size=40)
        half = Z * sqrt((influence**2).sum())
        variance += half**2 / 36
        names = np.arange(40) + 40 * seed
        audits.append(Audit(seed, 0, _symmetric(0.6, half), names, names % 2 == 0, influence))
    found = mean_of_audits(audits)
    assert found.high - 0.6 == pytest.approx(sqrt(variance))  # equal values: no spread of seeds


def test_the_two_way_variance_equals_a_double_loop() -> None:
    # Six audits of three seeds, sharing some examples: sums over all pairs of (audit, example).
    rng = np.random.default_rng(4)
    pool = rng.normal(size=(50, 1)) + 0.8 * rng.normal(size=(50, 6))
    audits = []
    for number in range(6):
        names = np.sort(rng.permutation(50)[:30])
        influence = pool[names, number] / 30
        half = Z * sqrt((influence**2).sum())
        value = 0.1 * number
        audits.append(
            Audit(number // 2, number % 2, _symmetric(value, half), names, names < 25, influence)
        )
    example, within = 0.0, 0.0
    for a in audits:
        for b in audits:
            assert a.examples is not None
            assert b.examples is not None
            assert a.influence is not None
            assert b.influence is not None
            for i, left in zip(a.examples, a.influence, strict=True):
                for j, right in zip(b.examples, b.influence, strict=True):
                    if i == j:
                        example += left * right / 36
                        within += left * right / 36 * (a.seed == b.seed)
    means = np.array([0.05, 0.25, 0.45])
    spread = (t.ppf(0.975, 2) * means.std(ddof=1)) ** 2 / 3
    between = Z**2 * (example - within) * 3 / 2
    assert between > 0.1 * spread
    assert spread + between > Z**2 * example
    expected = sqrt(spread + between)
    found = mean_of_audits(audits)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((expected,) * 2)


def test_unknown_influence_counts_examples_of_one_role_as_alike() -> None:
    half = np.arange(20) < 10
    estimate = _symmetric(0.6, 0.1)
    first = Audit(0, 0, estimate, np.arange(20), half)
    turned = Audit(1, 0, estimate, np.arange(20), ~half)
    moved = Audit(2, 0, estimate, np.arange(20) + 5, half)  # 5 of 10 on each side are the same
    alike = correlations([first, first, turned, moved])
    np.testing.assert_allclose(alike[0], [1, 1, 0, 0.5])
    targets = [Audit(0, number, estimate) for number in range(4)]
    assert mean_of_audits(targets).high == pytest.approx(0.7)  # of one seed: all may be shared


@pytest.mark.parametrize("seeds", [1, 2, 5, 10])
def test_seeds_on_the_same_examples_cover(seeds: int) -> None:
    # `split.seed` and a difficulty that all networks share, three times each one's own noise: as
    # draws of their own the ten seeds' interval covers 49 %.
    rng = np.random.default_rng(5)
    members, names, reps, covered = np.arange(200) < 100, np.arange(200), 150, 0
    truth = norm.cdf(0.5 / sqrt(2 * 10))
    for _ in range(reps):
        hard = 3 * rng.normal(size=200)
        audits = []
        for seed in range(seeds):
            examples = _per_example(hard + 0.5 * members + rng.normal(size=200), members)
            auc = examples.roc.auc()
            audits.append(Audit(seed, 0, auc, names, members, examples.auc()))
        found = mean_of_audits(audits)
        covered += found.low <= truth <= found.high
    assert covered / reps >= 0.91  # 95 % in the long run: below with a chance of 2 %


@pytest.mark.parametrize(
    ("members", "non_members", "hit", "alarm"),
    [(20, 200, 0.05, 0.02), (1000, 100, 0.02, 0.02), (30, 3000, 0.98, 0.9), (50, 2000, 0.9, 0.7)],
)
def test_rare_hits_are_missed_no_more_than_promised(
    members: int, non_members: int, hit: float, alarm: float
) -> None:
    # Without the uncertainty of a side that is all alike: up to 52 % below and 36 % above.
    rng = np.random.default_rng(6)
    inside, reps = np.arange(members + non_members) < members, 300
    truth, above, below = 0.5 + (hit - alarm) / 2, 0, 0
    for _ in range(reps):
        scores = rng.random(len(inside)) < np.where(inside, hit, alarm)
        found = metrics.roc_auc(scores.astype(float), inside)
        above, below = above + (truth > found.high), below + (truth < found.low)
    assert max(above, below) / reps <= 0.035


def test_a_side_all_alike_is_bounded_exactly() -> None:
    # No hit among 20 members: the share of hits may be up to 1 - 0.025^(1/20), a member there
    # beats at the worst everybody instead of the 9 of 10 non-members it ties with, one half each.
    scores = np.concatenate([np.zeros(20), np.zeros(2700), np.ones(300)])
    found = metrics.roc_auc(scores, np.arange(3020) < 20)
    share = 1 - 0.025 ** (1 / 20)
    assert found.value == pytest.approx(0.45)
    others = metrics.clopper_pearson(300, 3000)
    up, down = 0.55 * share, 0.45 * share
    assert found.high == pytest.approx(0.45 + sqrt(up**2 + ((0.1 - others.low) / 2) ** 2))
    assert found.low == pytest.approx(0.45 - sqrt(down**2 + ((others.high - 0.1) / 2) ** 2))
