"""What a sample can show, against simulated networks that tell nothing."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from privaudit import metrics
from privaudit.statistics import table
from privaudit.statistics.power import (
    chance_kept,
    half_width,
    sample_sentence,
    smallest_resolvable,
)


@pytest.mark.parametrize(("members", "non_members"), [(100, 100), (50, 1000), (2000, 300)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_half_width_is_delongs_of_continuous_scores(
    members: int, non_members: int, confidence: float
) -> None:
    deviation = sqrt((1 / members + 1 / non_members) / 12)
    expected = expit(norm.ppf((1 + confidence) / 2) * deviation / 0.25) - 0.5
    assert half_width("auc", members, non_members, confidence) == pytest.approx(expected, rel=0.01)


def test_every_metric_that_a_gate_judges_has_a_half_width() -> None:
    for name in table.names(lambda metric: metric.gate is not None and not metric.bound):
        few, many = half_width(name, 20, 20), half_width(name, 20_000, 20_000)
        assert 0 < many < 0.1 or name.startswith("precision"), name
        assert many <= few, name
    assert half_width("tpr@0.001", 100, 100) == float("inf")  # not resolvable


def test_the_chance_to_keep_a_gate_is_that_of_simulated_networks() -> None:
    rng = np.random.default_rng(0)
    inside, reps = np.arange(200) < 100, 500
    limits = np.array([metrics.roc_auc(rng.normal(size=200), inside).high for _ in range(reps)])
    for limit in (0.55, 0.6, 0.65):
        chance = chance_kept("auc", limit, 100, 100)
        error = sqrt(chance * (1 - chance) / reps)
        assert np.mean(limits < limit) == pytest.approx(chance, abs=3 * error + 0.01)
    lows = 1 - limits  # mirrored scores
    both = chance_kept("auc", 0.6, 100, 100, both_sides=True)
    assert both == pytest.approx(1 - np.mean(limits >= 0.6) - np.mean(lows <= 0.4), abs=0.08)


def test_the_smallest_sample_is_just_enough() -> None:
    for attacks in (1, 20):
        examples = smallest_resolvable("auc", 0.6, attacks)
        assert examples is not None
        assert chance_kept("auc", 0.6, examples // 2, examples // 2) ** attacks >= 0.89
        fewer = int(0.98 * examples) // 2
        assert chance_kept("auc", 0.6, fewer, fewer) ** attacks < 0.9
    assert smallest_resolvable("auc", 0.45) is None


def test_the_sentence_says_how_many_examples_would_do() -> None:
    sentence = sample_sentence("auc", 0.6, 100, 100, 20)
    assert sentence.startswith("too few examples: with 100 members and 100 non-members")
    assert "breaks it, too, in 31 to 100 % of audits" in sentence
    assert "in 31 % of audits" in sample_sentence("auc", 0.6, 100, 100)
    assert "about 680 audited examples would do" in sentence
    assert sample_sentence("auc", 0.6, 340, 340, 20) == ""
    assert "however many" in sample_sentence("auc", 0.45, 1000, 1000)
    assert "100 % of audits" in sample_sentence("tpr@0.001", 0.05, 100, 100)
    assert "would do" in sample_sentence("defense", 0.9, 100, 100)
