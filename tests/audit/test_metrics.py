"""The ROC and what is read off it, against brute force over pairs and thresholds."""

import json
from math import isclose, sqrt
from time import perf_counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from privaudit import metrics
from privaudit.errors import PrivauditError

Case = tuple[list[float], list[bool]]

# Few distinct values, so that most examples tie, and the two infinities among them.
tied = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.1, 0.3, 2.0, 1e300, np.inf])
audits = st.lists(st.tuples(tied, st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({member for _, member in rows}) == 2
)
separate = st.lists(st.floats(-10, 10), min_size=6, max_size=40, unique=True)


def columns(rows: list[tuple[float, bool]]) -> Case:
    return [score for score, _ in rows], [member for _, member in rows]


def sides(scores: list[float], members: list[bool]) -> tuple[list[float], list[float]]:
    pairs = list(zip(scores, members, strict=True))
    return [s for s, member in pairs if member], [s for s, member in pairs if not member]


def rates(scores: list[float], members: list[bool]) -> list[tuple[int, int]]:
    """Members and non-members called members, for every threshold there is, and for none."""
    inside, outside = sides(scores, members)
    return [(0, 0)] + [
        (sum(s >= threshold for s in inside), sum(s >= threshold for s in outside))
        for threshold in sorted(set(scores), reverse=True)
    ]


def wins(scores: list[float], members: list[bool]) -> np.ndarray:
    inside, outside = sides(scores, members)
    return np.array([[(x > y) + (x == y) / 2 for y in outside] for x in inside])


@settings(deadline=None)
@given(audits)
def test_curve_has_one_point_per_distinct_score(rows: list[tuple[float, bool]]) -> None:
    scores, members = columns(rows)
    curve = metrics.roc_curve(scores, members)
    expected = rates(scores, members)
    assert curve.true_positives.tolist() == [hit for hit, _ in expected]
    assert curve.false_positives.tolist() == [alarm for _, alarm in expected]
    inside, outside = (np.array(side) for side in sides(scores, members))
    for i, threshold in enumerate(curve.thresholds):
        assert (inside >= threshold).mean() == curve.tpr[i]
        assert (outside >= threshold).mean() == curve.fpr[i]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=8, max_size=60))
def test_curve_and_area_equal_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    scores, members = columns([*rows, (0, True), (0, False)])
    curve = metrics.roc_curve(scores, members)
    fpr, tpr, thresholds = sklearn_roc_curve(members, scores, drop_intermediate=False)
    np.testing.assert_array_equal(curve.fpr, fpr)
    np.testing.assert_array_equal(curve.tpr, tpr)
    np.testing.assert_array_equal(curve.thresholds[1:], thresholds[1:])
    area = metrics.roc_auc(scores, members).value
    assert isclose(area, roc_auc_score(members, scores), abs_tol=1e-12)


@settings(deadline=None)
@given(audits)
def test_area_counts_pairs_and_ties_as_one_half(rows: list[tuple[float, bool]]) -> None:
    scores, members = columns(rows)
    won = wins(scores, members)
    assert metrics.roc_auc(scores, members).value == won.sum() / won.size


@settings(deadline=None)
@given(separate, st.data())
def test_delong_interval_equals_the_formula_over_all_pairs(
    scores: list[float], data: st.DataObject
) -> None:
    scores = [*scores, *scores[:3]]  # three ties
    size = len(scores)
    members = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    members[:4] = [True, True, False, False]
    won = wins(scores, members)
    area = won.mean()
    limit = 0.025 ** (1 / min(won.shape))  # that of an area of 1: no other's is higher
    expected = (0.0, 1 - limit) if area == 0 else (limit, 1.0)
    if 0 < area < 1:
        variance = won.mean(1).var(ddof=1) / len(won) + won.mean(0).var(ddof=1) / len(won[0])
        reach = norm.ppf(0.975) * sqrt(variance) / (area * (1 - area))
        odds = area / (1 - area) * np.exp([-reach, reach])
        low, high = odds / (1 + odds)
        expected = (min(low, limit), max(high, 1 - limit))
    estimate = metrics.roc_auc(scores, members)
    np.testing.assert_allclose((estimate.low, estimate.high), expected, atol=1e-9)


@settings(deadline=None)
@given(audits)
def test_swapping_labels_or_the_sign_of_scores_mirrors_the_area(
    rows: list[tuple[float, bool]],
) -> None:
    scores, members = columns(rows)
    area = metrics.roc_auc(scores, members)
    swapped = metrics.roc_auc(scores, [not member for member in members])
    negated = metrics.roc_auc([-score for score in scores], members)
    for mirror in (swapped, negated):
        expected = (1 - area.value, 1 - area.high, 1 - area.low)
        np.testing.assert_allclose((mirror.value, mirror.low, mirror.high), expected, atol=1e-9)


@settings(deadline=None)
@given(audits, st.sampled_from([0.02, 0.07, 0.1, 0.2, 0.29, 1 / 3, 0.5, 1.0]))
def test_tpr_at_fpr_is_the_best_of_all_thresholds(
    rows: list[tuple[float, bool]], fpr: float
) -> None:
    scores, members = columns(rows)
    inside, outside = sides(scores, members)
    estimate = metrics.tpr_at_fpr(scores, members, fpr)
    if len(outside) < 1 / fpr:
        assert estimate is None
        return
    hits = max(hit for hit, alarm in rates(scores, members) if alarm / len(outside) <= fpr)
    limits = binomtest(hits, len(inside)).proportion_ci(0.95, method="exact")
    assert estimate is not None
    assert estimate.value == hits / len(inside)
    # Never narrower than if the threshold were known.
    assert 0 <= estimate.low <= limits.low + 1e-9
    assert limits.high - 1e-9 <= estimate.high <= 1


@pytest.mark.parametrize(("alarms", "non_members"), [(29, 100), (7, 100), (3, 1000), (1, 10000)])
def test_a_rate_of_whole_non_members_is_not_lost_to_rounding(alarms: int, non_members: int) -> None:
    scores = np.concatenate(([non_members - alarms + 0.5], np.arange(1, non_members + 1)))
    members = np.arange(non_members + 1) == 0  # one member, below just so many non-members
    rate = float(f"{alarms / non_members:.4f}")
    found = metrics.tpr_at_fpr(scores, members, rate)
    missed = metrics.tpr_at_fpr(scores, members, (alarms - 0.5) / non_members)
    assert found is not None
    assert found.value == 1
    assert missed is None if alarms == 1 else missed is not None and missed.value == 0


@settings(deadline=None)
@given(audits)
def test_advantage_is_the_best_of_all_thresholds(rows: list[tuple[float, bool]]) -> None:
    scores, members = columns(rows)
    inside, outside = sides(scores, members)
    best = max(h / len(inside) - a / len(outside) for h, a in rates(scores, members))
    assert metrics.advantage(scores, members) == best
    assert isclose(metrics.best_balanced_accuracy(scores, members), (1 + best) / 2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_balanced_accuracy_equals_scikit_learn(rows: list[tuple[bool, bool]]) -> None:
    decision, members = zip(*rows, (True, True), (True, False), strict=True)
    estimate = metrics.balanced_accuracy(decision, members)
    assert isclose(estimate.value, balanced_accuracy_score(members, decision))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_constant_scores_are_a_coin_toss() -> None:
    measured = metrics.evaluate(np.zeros(2000), np.arange(2000) < 1000)
    assert measured["auc"]["value"] == measured["best_balanced_accuracy"] == 0.5
    assert measured["auc"]["low"] < 0.5 < measured["auc"]["high"]
    assert measured["advantage"]["value"] == 0
    assert (measured["distinct_scores"], measured["largest_tie"]) == (1, 1.0)
    resolved = {rate: found and found["value"] for rate, found in measured["tpr_at_fpr"].items()}
    assert resolved == {"0.1": 0.0, "0.01": 0.0, "0.001": 0.0, "0.0001": None}


def test_perfect_separation_is_never_a_certainty() -> None:
    scores, members = np.arange(200), np.arange(200) >= 120
    measured = metrics.evaluate(scores, members, scores >= 120)
    assert measured["defense"] == 0
    assert measured["advantage"]["value"] == measured["best_balanced_accuracy"] == 1
    assert (measured["distinct_scores"], measured["largest_tie"]) == (200, 1 / 200)
    assert measured["auc"] == {"value": 1.0, "low": pytest.approx(0.025 ** (1 / 80)), "high": 1.0}
    assert measured["balanced_accuracy"]["value"] == measured["balanced_accuracy"]["high"] == 1
    assert 0.95 < measured["balanced_accuracy"]["low"] < 1
    assert measured["tpr_at_fpr"]["0.01"]["value"] == 1
    assert measured["tpr_at_fpr"]["0.001"] is None
    assert (measured["members"], measured["non_members"]) == (80, 120)


def test_a_useless_yes_or_no_score_is_not_inverted() -> None:
    # A curve that keeps one element of each tie reports 0.13 to 0.57 for scores like these.
    generator = np.random.default_rng(0)
    scores, members = generator.integers(0, 2, 4000), generator.random(4000) < 0.5
    table = [[(scores[members == side] == score).mean() for score in (0, 1)] for side in (0, 1)]
    by_hand = (
        table[0][0] * table[1][1] + (table[0][0] * table[1][0] + table[0][1] * table[1][1]) / 2
    )
    estimate = metrics.roc_auc(scores, members)
    assert isclose(estimate.value, by_hand)
    assert estimate.low < 0.5 < estimate.high


def test_defense_comes_from_the_attackers_own_decision_alone() -> None:
    scores, members = [4.0, 3.0, 2.0, 1.0], [True, True, False, False]
    assert metrics.evaluate(scores, members)["defense"] is None
    assert metrics.evaluate(scores, members)["balanced_accuracy"] is None
    # Members: 1 of 2 right; non-members: 2 of 2: accuracy 3/4, so 2 (1 - 3/4).
    assert metrics.evaluate(scores, members, [True, False, False, False])["defense"] == 0.5
    # Members: none right; non-members: 1 of 2: wrong more often than right, so above 1.
    assert metrics.evaluate(scores, members, [False, False, True, False])["defense"] == 1.5


def test_evaluate_is_plain_json_and_takes_tensors() -> None:
    scores = torch.tensor([0.5, 0.25, 0.25, -0.5, float("-inf")])
    members = torch.tensor([True, False, True, False, False])
    measured = metrics.evaluate(scores, members, scores > 0)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert measured == metrics.evaluate(scores.numpy(), members.int().numpy(), scores.numpy() > 0)
    assert set(measured["tpr_at_fpr"]) == {"0.1", "0.01", "0.001", "0.0001"}
    assert set(measured["auc"]) == set(measured["balanced_accuracy"]) == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("scores", "members", "decision", "message"),
    [
        ([0.1, np.nan, 0.2], [1, 0, 1], None, r"score 1 is NaN \(1 of 3 are\)"),
        ([[0.1], [0.2]], [1, 0], None, r"one number an example \(N,\), got shape \(2, 1\)"),
        ([0.1, 0.2, 0.3], [1, 0], None, r"each of the 3 examples, got shape \(2,\)"),
        ([0.1, 0.2], [1, 2], None, "members must be true or false"),
        ([0.1, 0.2], [1, 1], None, "all 2 examples are members"),
        ([0.1, 0.2], [0, 0], None, "all 2 examples are non-members"),
        ([], [], None, "nothing to measure"),
        ([0.1, 0.2], [1, 0], [1], r"decision must hold one value for each of the 2 examples"),
        ([0.1, 0.2], [1, 0], [0.7, 0], "decision must be true or false"),
    ],
)
def test_bad_input_is_one_clear_line(
    scores: list[float], members: list[int], decision: list[int] | None, message: str
) -> None:
    with pytest.raises(PrivauditError, match=message) as caught:
        metrics.evaluate(scores, members, decision)
    assert "\n" not in str(caught.value)


def test_rates_and_confidence_outside_their_range_are_refused() -> None:
    with pytest.raises(PrivauditError, match="confidence must be between 0 and 1"):
        metrics.roc_auc([1, 0], [True, False], confidence=95)
    with pytest.raises(PrivauditError, match="false positive rate must be from 0 to 1"):
        metrics.tpr_at_fpr([1, 0], [True, False], 10)


def test_a_hundred_thousand_scores_take_well_under_a_second() -> None:
    generator = np.random.default_rng(0)
    scores, members = generator.normal(size=100_000), generator.random(100_000) < 0.5
    start = perf_counter()
    metrics.evaluate(scores, members, scores > 0)
    assert perf_counter() - start < 1
