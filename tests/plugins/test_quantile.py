"""The quantile attack on made-up confidences whose conditional quantiles are known."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from privaudit import Outputs, PrivauditError, ShortageError, Signals
from privaudit_plugins.attacks.quantile import Quantile, example_features, quantile_of


def made_up(memory: float, examples: int, seed: int = 0) -> tuple[Signals, Tensor, Tensor]:
    """Signals, the target's membership, and each example's φ.

    φ ~ N(8·x_0, (x_1 + 1/4)²), and more by `memory` deviations for members. Half of the examples
    are audited, half of those members.
    """
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(examples, 3, generator=draw)
    y = torch.randint(2, (examples,), generator=draw)
    audited = torch.rand(examples, generator=draw) < 0.5
    inside = audited & (torch.rand(examples, generator=draw) < 0.5)
    surprise = torch.randn(examples, generator=draw) + memory * inside
    phi = 8 * x[:, 0] + (x[:, 1] + 0.25) * surprise
    logits = torch.zeros(examples, 2)
    logits[torch.arange(examples), y] = phi  # with two classes φ is the difference of logits
    shadows = Outputs(torch.zeros(0, 1, examples, 2))
    role = torch.zeros(0, examples, dtype=torch.uint8)
    signals = Signals(x, y, audited, Outputs(logits[None]), shadows, role, seed)
    return signals, inside, phi


def auc(score: Tensor, signals: Signals, inside: Tensor) -> float:
    return float(roc_auc_score(inside[signals.audited], score[signals.audited]))


@pytest.mark.parametrize("fpr", [0.02, 0.2])
def test_non_members_exceed_their_quantile_as_often_as_it_says(fpr: float) -> None:
    accused, variance = 0.0, 0.0
    for seed in range(2):
        signals, inside, _ = made_up(1.0, 2000, seed)
        decision = Quantile(fpr=fpr).score(signals).decision
        assert decision is not None
        fresh = signals.audited & ~inside
        held = round(0.3 * int((~signals.audited).sum()))
        accused += float(decision[fresh].double().mean()) / 2
        variance += fpr * (1 - fpr) * (1 / int(fresh.sum()) + 1 / held) / 4
    assert abs(accused - fpr) < 3.29 * math.sqrt(variance)  # 99.9 %


def test_predicted_quantile_is_exceeded_equally_often_whatever_the_example() -> None:
    signals, _, phi = made_up(0.0, 8000)
    decision = Quantile(fpr=0.1).score(signals).decision
    assert decision is not None
    for feature in (0, 1):
        high = signals.x[:, feature] > 0.5
        for part in (high, ~high):
            accused = float(decision[signals.audited & part].double().mean())
            assert accused == pytest.approx(0.1, abs=0.04)
    # One threshold for all accuses those of large x_0 alone.
    flat = phi > phi[signals.audited].quantile(0.9)
    easy = signals.audited & (signals.x[:, 0] <= 0.5)
    assert float(flat[easy].double().mean()) < 0.01


def test_attack_nears_the_best_possible_where_confidence_alone_does_not() -> None:
    signals, inside, phi = made_up(2.0, 6000)
    best = NormalDist().cdf(2 / math.sqrt(2))  # of N(2, 1) against N(0, 1): 0.921
    found = auc(Quantile().score(signals).score, signals, inside)
    assert best - 0.03 < found < best + 0.015
    assert auc(phi, signals, inside) < 0.7


def test_attack_on_a_target_without_memory_guesses() -> None:
    deviations = []
    for seed in range(4):
        signals, inside, _ = made_up(0.0, 400, seed)
        n, m = int(inside.sum()), int((signals.audited & ~inside).sum())
        error = math.sqrt((n + m + 1) / (12 * n * m))  # of an AUC under chance: the rank test's
        found = auc(Quantile().score(signals).score, signals, inside)
        deviations.append((found - 0.5) / error)
    assert abs(sum(deviations)) / math.sqrt(4) < 3.29  # 99.9 %


def test_no_audited_example_teaches_or_calibrates() -> None:
    signals, _, _ = made_up(1.0, 400)
    first = Quantile().score(signals)
    same, changed = signals.audited.nonzero()[:, 0].tensor_split(2)
    logits = signals.target.logits.clone()
    draw = torch.Generator().manual_seed(1)
    logits[:, changed] = 50 * torch.randn(len(changed), 2, generator=draw)
    other = Quantile().score(replace(signals, target=Outputs(logits)))
    assert torch.equal(other.score[same], first.score[same])
    assert not torch.equal(other.score[changed], first.score[changed])
    assert other.decision is not None
    assert first.decision is not None
    assert torch.equal(other.decision[same], first.decision[same])


def test_scores_depend_on_the_seed_and_on_nothing_random() -> None:
    signals, _, _ = made_up(1.0, 400)
    torch.manual_seed(1)
    first = Quantile().score(signals)
    torch.manual_seed(2)
    again = Quantile().score(signals)
    torch.testing.assert_close(first.score, again.score, rtol=0, atol=0, equal_nan=True)
    assert bool(torch.isfinite(first.score[signals.audited]).all())
    assert bool(torch.isnan(first.score[~signals.audited]).all())
    other = Quantile().score(replace(signals, seed=9)).score
    assert not torch.equal(other[signals.audited], first.score[signals.audited])


def test_too_few_to_calibrate_a_small_rate_accuse_nobody() -> None:
    signals, _, _ = made_up(5.0, 100)  # some 15 calibrate
    few, many = (Quantile(fpr=fpr).score(signals).decision for fpr in (0.05, 0.2))
    assert few is not None
    assert many is not None
    assert not bool(few.any())
    assert bool(many.any())


@given(st.integers(1, 40), st.integers(1, 39))
def test_quantile_leaves_room_for_one_more_of_the_same_kind(count: int, fortieth: int) -> None:
    level = fortieth / 40
    values = torch.randperm(count, generator=torch.Generator().manual_seed(count)).double()
    threshold = quantile_of(values, level)
    # The new one is equally likely in each of the count + 1 places between the others.
    above = sum(place > threshold for place in torch.arange(count + 1) - 0.5)
    allowed = (40 - fortieth) * (count + 1)
    assert 40 * above <= allowed
    assert 40 * (above + 1) > allowed  # the smallest such threshold


def test_features_are_averaged_pixels_and_class() -> None:
    image = torch.arange(2 * 16 * 16, dtype=torch.uint8).view(1, 2, 16, 16)
    found = example_features(image, torch.tensor([1]), 3)
    assert found.shape == (1, 2 * 64 + 3)
    corner = image[0, 0, 0:2, 2:4].double().mean()
    assert found[0, 1] == corner
    assert found[0, -3:].tolist() == [0.0, 1.0, 0.0]
    small = image[..., :8, :8]
    assert torch.equal(example_features(small, torch.tensor([1]), 3)[0, :-3], small.flatten())


def test_attack_names_what_it_lacks() -> None:
    signals, _, _ = made_up(1.0, 20)
    everyone = replace(signals, audited=torch.arange(20) < 17)
    with pytest.raises(ShortageError, match=r"there are 3 in all$"):
        Quantile().score(everyone)
    diverged = Outputs(torch.full_like(signals.target.logits, torch.nan))
    with pytest.raises(PrivauditError, match=r"the target answers NaN"):
        Quantile().score(replace(signals, target=diverged))
