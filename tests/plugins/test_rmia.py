"""RMIA against its definition by loops, recomputation, hand-made cases and noise."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import binom
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from privaudit import Outputs, PrivauditError, Role, ShortageError, Signals
from privaudit.statistics.metrics import roc_auc
from privaudit_plugins.attacks._in_turn import others
from privaudit_plugins.attacks._rmia import (
    Probability,
    guessed_from_outside,
    log_mean,
    log_ratio,
    mean_probability,
    share_dominated,
)
from privaudit_plugins.attacks.rmia import RMIA

CLASSES = 3


def memory(effect: float, *, shadows: int = 8, examples: int = 150, seed: int = 0) -> Any:
    """Signals whose first two thirds are audited, and the target's membership of all."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    audited = torch.arange(examples) < examples * 2 // 3
    inside = torch.rand(1 + shadows, examples, generator=draw) < 0.5
    inside[2::2] = ~inside[1::2]
    inside &= audited
    logits = torch.randn(1 + shadows, 1, examples, CLASSES, generator=draw)
    own = y[:, None] == torch.arange(CLASSES)
    logits += (own * 2 * torch.randn(examples, 1, generator=draw)) + effect * (
        inside[:, None, :, None] & own
    )
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).masked_fill(~audited, Role.OUTSIDE)
    signals = Signals(
        x=torch.empty(examples, 0),
        y=y,
        audited=audited,
        target=Outputs(logits[0]),
        shadows=Outputs(logits[1:]),
        shadow_role=role[1:].byte(),
    )
    return signals, inside[0]


def p_true(outputs: Outputs, y: Any, temperature: float = 1.0) -> NDArray[np.float64]:
    """(..., N): the softmax of the true class."""
    p = softmax(outputs.logits[..., 0, :, :].double().numpy() / temperature, axis=-1)
    return np.asarray(p[..., np.arange(len(y)), y])


def defined(
    target: NDArray[np.float64], reference: NDArray[np.float64], audited: Any, gamma: float
) -> list[float]:
    """The score as the paper defines it, from p and P of N examples: each x with each z."""
    ratio = target / reference
    population = [z for z in range(len(ratio)) if not audited[z]]
    return [
        sum(bool(ratio[x] / ratio[z] >= gamma) for z in population) / len(population)
        for x in range(len(ratio))
        if audited[x]
    ]


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.integers(-2, 3),
)
def test_sorting_equals_comparing_each_with_each_ties_too(
    ratio: list[int], population: list[int], power: int
) -> None:
    def of(values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    # Log-ratios are whole numbers, so that many are exactly γ apart: γ is e to a whole power.
    gamma = float(torch.tensor(float(power), dtype=torch.float64).exp())
    exact = float(torch.tensor(gamma, dtype=torch.float64).log())
    expected = [sum(x - z >= exact for z in population) / len(population) for x in ratio]
    assert share_dominated(of(ratio), of(population), gamma).tolist() == expected


def test_missing_ratios_stay_missing_and_count_for_nobody() -> None:
    ratio = torch.tensor([0.0, torch.nan, 3.0], dtype=torch.float64)
    population = torch.tensor([-1.0, torch.nan, 1.0], dtype=torch.float64)
    share = share_dominated(ratio, population, 1.0)
    assert share[[0, 2]].tolist() == [0.5, 1.0]
    assert bool(share[1].isnan())


@pytest.mark.parametrize(("gamma", "temperature"), [(2.0, 1.0), (1.0, 2.0), (1.3, 0.5)])
def test_online_scores_equal_the_definition(gamma: float, temperature: float) -> None:
    signals, _ = memory(2.0)
    score = RMIA(gamma=gamma, temperature=temperature, ties="keep").score(signals).score
    target, shadows = (p_true(o, signals.y, temperature) for o in (signals.target, signals.shadows))
    expected = defined(target, shadows.mean(0), signals.audited, gamma)
    assert 0 < np.mean(expected) < 1
    assert score[signals.audited].tolist() == pytest.approx(expected, abs=1e-12)
    assert bool(score[~signals.audited].isnan().all())


@pytest.mark.parametrize("a", [0.0, 0.33, 1.0])
def test_offline_scores_equal_the_definition(a: float) -> None:
    signals, _ = memory(2.0)
    score = RMIA(mode="offline", a=a, gamma=2.0, temperature=1.0, ties="keep").score(signals).score
    target, shadows = (p_true(o, signals.y) for o in (signals.target, signals.shadows))
    without = (signals.shadow_role != Role.MEMBER).numpy()
    p_out = (shadows * without).sum(0) / without.sum(0)
    expected = defined(target, ((1 + a) * p_out + 1 - a) / 2, signals.audited, 2.0)
    assert score[signals.audited].tolist() == pytest.approx(expected, abs=1e-12)


def test_ties_are_broken_by_the_ratio_and_nothing_else() -> None:
    signals, _ = memory(2.0)
    options: dict[str, Any] = {"gamma": 1.5, "temperature": 2.0}
    kept = RMIA(ties="keep", **options).score(signals).score[signals.audited].numpy()
    broken = RMIA(**options).score(signals).score[signals.audited].numpy()
    target, shadows = (p_true(o, signals.y, 2.0) for o in (signals.target, signals.shadows))
    ratio = (target / shadows.mean(0))[signals.audited.numpy()]
    assert len(set(kept)) <= 51 < len(set(broken)) == 100
    below = [(ratio < r).mean() + (ratio == r).mean() / 2 for r in ratio]
    assert broken.tolist() == pytest.approx(((kept * 50 + below) / 51).tolist(), abs=1e-12)


def test_ratios_rise_strictly_up_to_margins_of_ten_thousand() -> None:
    odds = (
        torch.cat([torch.arange(-1e4, 1e4, 7.0), torch.linspace(-5, 5, 101) + 0.05])
        .double()
        .sort()[0]
    )
    for shadows in ([9990.0, 9994.0], [700.0, 760.0], [35.0, 40.0], [-3.0, 3.0], [-9e3, -8e3]):
        known = torch.tensor(shadows).double()[:, None].expand(2, len(odds))
        everyone = torch.ones_like(known, dtype=torch.bool)
        reference = mean_probability(known, everyone, torch.ones(1, 2, dtype=torch.bool))
        ratio = log_ratio(odds[None], reference)[0]
        assert bool((ratio.diff() >= 0).all())
        resolved = odds < min(shadows) + 30  # beyond, p / P is 1 / P to the last digit
        assert bool((ratio[resolved].diff() > 0).all())
        assert bool((ratio[odds < min(shadows)] < 0).all() & (ratio[odds > max(shadows)] > 0).all())


def test_ratios_are_those_of_the_probabilities() -> None:
    p, q = np.meshgrid([1e-12, 0.1, 0.5, 0.9, 1 - 1e-6], [1e-9, 0.3, 0.7, 1 - 1e-5])
    reference = Probability(torch.from_numpy(np.log(q)), torch.from_numpy(np.log1p(-q)))
    ratio = log_ratio(torch.from_numpy(np.log(p) - np.log1p(-p)), reference).numpy()
    assert ratio == pytest.approx(np.log(p / q), rel=1e-9)


def test_means_and_their_correction_are_exact_where_probabilities_vanish() -> None:
    odds = torch.tensor([[-2000.0], [-2000.0], [0.0]], dtype=torch.float64)
    which = torch.tensor([[True], [True], [False]])
    kept = torch.ones(1, 3, dtype=torch.bool)
    for sign in (1, -1):  # of p, and of 1 - p
        mean = mean_probability(sign * odds, which, kept)
        assert (mean.log if sign == 1 else mean.log_rest).tolist() == [[-2000.0]]
    unlikely = mean_probability(odds, which, kept)
    assert guessed_from_outside(unlikely, 1.0).log.tolist() == [[-2000.0]]
    assert float(guessed_from_outside(unlikely, 0.5).log) == pytest.approx(np.log(0.25))
    sure = guessed_from_outside(mean_probability(-odds, which, kept), 0.5)
    assert float(sure.log_rest) == pytest.approx(-2000 + np.log(0.75))


def test_leaving_shadows_out_equals_doing_without_them() -> None:
    signals, _ = memory(2.0)
    inside, outside = (signals.shadow_role == role for role in (Role.MEMBER, Role.NON_MEMBER))
    log_p = torch.from_numpy(np.log(p_true(signals.shadows, signals.y)))
    together = log_mean(log_p, inside | outside, others(inside, outside, 8))
    for k in range(8):
        rest = [j for j in range(8) if j // 2 != k // 2]
        alone = log_p[rest].exp().mean(0).log()
        torch.testing.assert_close(together[k, :100], alone[:100])
    assert bool(together[:, 100:].isnan().all())  # nobody counts for them here


def test_auto_is_online_where_every_example_has_both_kinds_of_shadow() -> None:
    signals, _ = memory(2.0)
    assert torch.equal(
        RMIA().score(signals).score.nan_to_num(),
        RMIA(mode="online").score(signals).score.nan_to_num(),
    )
    role = torch.where(signals.shadow_role == Role.OUTSIDE, Role.OUTSIDE, Role.NON_MEMBER).byte()
    without = replace(signals, shadow_role=role)
    offline = RMIA(mode="offline").score(without)
    assert torch.equal(RMIA().score(without).score.nan_to_num(), offline.score.nan_to_num())
    assert offline.decision is None


def test_population_leaves_out_what_shadows_validate_with() -> None:
    signals, _ = memory(2.0)
    role = signals.shadow_role.clone()
    role[:, 140:] = Role.VALIDATION
    fewer = RMIA().score(replace(signals, shadow_role=role)).score[:100]
    rest = [Outputs(o.logits[..., :140, :]) for o in (signals.target, signals.shadows)]
    cut = replace(signals, y=signals.y[:140], audited=signals.audited[:140])
    cut = replace(cut, target=rest[0], shadows=rest[1], shadow_role=role[:, :140])
    assert torch.equal(fewer, RMIA().score(cut).score[:100])
    assert not torch.equal(fewer, RMIA().score(signals).score[:100])


def test_tuned_a_is_the_best_on_shadows_in_turn() -> None:
    signals, _ = memory(1.5, shadows=6, examples=300, seed=3)
    p = p_true(signals.shadows, signals.y)
    role, audited = signals.shadow_role.numpy(), signals.audited.numpy()
    quality = []
    for a in np.arange(11) / 10:
        found = []
        for k in range(6):
            rest = [j for j in range(6) if j // 2 != k // 2]
            without = role[rest] != Role.MEMBER
            with np.errstate(invalid="ignore"):
                p_out = (p[rest] * without).sum(0) / without.sum(0)
            ratio = (p[k] / ((1 + a) * p_out + 1 - a))[audited]
            found.append(roc_auc_score(role[k, audited] == Role.MEMBER, ratio))
        quality.append(np.mean(found))
    best = float(np.argmax(quality)) / 10
    assert len(set(quality)) > 5
    tuned, same, other = (
        RMIA(mode="offline", temperature=1.0, a=a).score(signals).score[signals.audited]
        for a in ("tune", best, float(np.argmin(quality)) / 10)
    )
    assert torch.equal(tuned, same)
    assert not torch.equal(tuned, other)


def test_decision_comes_from_shadows_attacked_by_the_others() -> None:
    signals, inside = memory(6.0, examples=900)
    scores = RMIA().score(signals)
    assert scores.decision is not None
    audited = signals.audited
    accuracy = balanced_accuracy_score(inside[audited], scores.decision[audited])
    best = max(
        balanced_accuracy_score(inside[audited], scores.score[audited] >= t)
        for t in set(scores.score[audited].tolist())
    )
    assert accuracy > best - 0.03 > 0.7
    assert not bool(scores.decision[~audited].any())
    assert RMIA().score(memory(6.0, shadows=2)[0]).decision is None


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_interval_of_auc_covers_one_half_on_noise(mode: Any) -> None:
    covered = 0
    for seed in range(200):
        signals, inside = memory(0.0, seed=seed)
        score = RMIA(mode=mode, temperature=2.0).score(signals).score
        estimate = roc_auc(score[signals.audited], inside[signals.audited])
        covered += estimate.low <= 0.5 <= estimate.high
    assert covered >= binom.ppf(1e-4, 200, 0.95)


def test_a_population_too_small_to_compare_with_is_told() -> None:
    with pytest.warns(UserWarning, match=r"population of 49, .*members below 49, so that 50"):
        RMIA(ties="keep").score(memory(1.0, examples=147)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RMIA(ties="keep").score(memory(1.0, examples=150)[0])
        RMIA().score(memory(1.0, examples=147)[0])  # its ranks are not the population's


def test_rmia_names_what_it_lacks() -> None:
    signals, _ = memory(1.0)
    everyone = torch.ones_like(signals.audited)
    inside = torch.where(torch.arange(8)[:, None] % 2 == 0, Role.MEMBER, Role.NON_MEMBER)
    full = replace(signals, audited=everyone, shadow_role=inside.expand(8, 150).byte())
    with pytest.raises(ShortageError, match=r"^rmia compares with a population .* none") as error:
        RMIA().score(full)
    assert error.value.lacking == "population"
    members = signals.shadow_role.masked_fill(signals.audited, Role.MEMBER)
    with pytest.raises(ShortageError, match=r"^rmia can score no row: all 100 lack a shadow"):
        RMIA().score(replace(signals, shadow_role=members))
    with pytest.raises(ShortageError, match=r"no row: all 100 lack a shadow that was trained on t"):
        RMIA(mode="online").score(replace(signals, shadow_role=members))
    alone = signals.shadow_role[:1].masked_fill(signals.audited, Role.NON_MEMBER)
    alone = replace(signals, shadows=Outputs(signals.shadows.logits[:1]), shadow_role=alone)
    with pytest.raises(ShortageError, match=r"rmia tunes a on shadows .* set a to a number"):
        RMIA(a="tune").score(alone)
    broken = signals.shadows.logits.clone()
    broken[5, 0, 149] = torch.nan
    with pytest.raises(PrivauditError, match="shadow 5 answers NaN"):
        RMIA().score(replace(signals, shadows=Outputs(broken)))
