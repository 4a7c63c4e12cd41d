"""Paired differences: against McNemar, Student and Holm's own procedure."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, t

from privaudit.statistics.case import balanced_accuracy
from privaudit.statistics.inference import Audit, PerExample, difference, holm
from privaudit.statistics.intervals import Estimate


def _decided(
    right: NDArray[np.bool_], members: NDArray[np.bool_], seed: int = 0, beyond: int = 0
) -> Audit:
    decision = right == members
    influence = PerExample(np.zeros(len(right)), members, decision).accuracy()
    names = np.arange(len(right)) + beyond
    return Audit(seed, 0, balanced_accuracy(decision, members), names, members, influence)


@pytest.mark.parametrize(("lost", "gained"), [(0, 4), (1, 9), (5, 15), (20, 40), (10, 10)])
def test_one_pair_of_networks_is_mcnemars_test(lost: int, gained: int) -> None:
    # Decisions that differ in few of 300 examples: the exact test conditions on their number.
    members = np.arange(300) % 2 == 0
    before = np.random.default_rng(0).permutation(np.arange(300) < 200)
    after = before.copy()
    after[np.flatnonzero(before)[:lost]] = False
    after[np.flatnonzero(~before)[:gained]] = True
    found = difference([(_decided(after, members), _decided(before, members))])
    exact = binomtest(gained, lost + gained).pvalue
    assert found.over == "examples"
    assert found.p <= 1
    assert found.p == pytest.approx(exact, abs=0.06)
    assert (found.p < 0.05) <= (exact < 0.05)  # never significant where the exact test is not
    assert (found.low <= 0 <= found.high) == (found.p >= 0.05)


def test_what_two_networks_share_cancels() -> None:
    members = np.arange(400) < 200
    before = np.random.default_rng(1).random(400) < 0.6
    after = before.copy()
    after[np.flatnonzero(~before)[:20]] = True
    paired = difference([(_decided(after, members), _decided(before, members))])
    apart = difference([(_decided(after, members), _decided(before, members, beyond=400))])
    assert paired.value == pytest.approx(apart.value)
    assert paired.high - paired.low < (apart.high - apart.low) / 2
    one = before.copy()
    one[0] = not one[0]
    assert difference([(_decided(one, members), _decided(before, members))]).p > 0.5


def test_without_examples_it_is_students_paired_test() -> None:
    here, there = [0.61, 0.66, 0.64, 0.65], [0.60, 0.63, 0.62, 0.60]
    pairs = [
        (Audit(s, 0, Estimate(a, a, a)), Audit(s, 0, Estimate(b, b, b)))
        for s, (a, b) in enumerate(zip(here, there, strict=True))
    ]
    found = difference(pairs)
    apart = np.array(here) - np.array(there)
    error = apart.std(ddof=1) / 2
    assert found.over == "seeds"
    assert found.value == pytest.approx(apart.mean())
    assert found.high - found.value == pytest.approx(t.ppf(0.975, 3) * error)
    assert found.p == pytest.approx(2 * t.sf(apart.mean() / error, 3), rel=1e-6)


def test_without_influence_two_audits_count_as_independent() -> None:
    pair = Audit(0, 0, Estimate(0.70, 0.65, 0.76)), Audit(0, 0, Estimate(0.60, 0.54, 0.64))
    found = difference([pair])
    assert found.low == pytest.approx(0.10 - sqrt(0.05**2 + 0.04**2))
    assert found.high == pytest.approx(0.10 + sqrt(0.06**2 + 0.06**2))
    z = 0.10 / (sqrt(0.05**2 + 0.04**2) / norm.ppf(0.975))
    assert found.p == pytest.approx(2 * norm.sf(z), rel=1e-6)
    targets = [(Audit(0, n, pair[0].estimate), Audit(0, n, pair[1].estimate)) for n in range(3)]
    many = difference(targets)
    assert many.over == "targets"
    assert (many.low, many.high) == pytest.approx((found.low, found.high))  # all may be shared


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=12))
def test_holm_is_the_step_down_procedure(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected: set[int] = set()
        for step, number in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
            if p_values[number] * (len(p_values) - step) >= level:
                break
            rejected.add(number)
        assert {n for n, p in enumerate(adjusted) if p < level} == rejected


@pytest.mark.parametrize(("seeds", "reps"), [(1, 200), (3, 120)])
def test_rows_that_do_not_differ_are_rarely_said_to(seeds: int, reps: int) -> None:
    # Five rows against one baseline; the paper's rule marks one in every third table or more.
    rng = np.random.default_rng(2)
    members, false = np.arange(120) < 60, 0
    for _ in range(reps):
        hard = rng.normal(size=(seeds, 1, 120)) + 0.3
        right = hard + rng.normal(size=(seeds, 6, 120)) > 0
        rows = [
            [_decided(right[s, r], members, s, 120 * s) for s in range(seeds)] for r in range(6)
        ]
        tests = [difference(list(zip(row, rows[0], strict=True))).p for row in rows[1:]]
        false += min(holm(tests)) < 0.05
    assert false / reps <= 0.08  # 5 % is promised
