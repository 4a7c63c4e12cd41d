"""BaVarIA against SciPy, loops over examples, a simulated prior, and noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score
from tests.plugins.test_lira import memory, signals_of

from privaudit import Role, ShortageError
from privaudit_plugins.attacks._lira import Shadows
from privaudit_plugins.attacks._posterior import posterior_ratios
from privaudit_plugins.attacks.bavaria import BaVarIA
from privaudit_plugins.attacks.lira import LiRA


def area(scores: Any, inside: Any) -> float:
    return float(roc_auc_score(inside, scores))


def smyth(squares: Any, count: Any) -> tuple[float, float]:
    """The prior's shadows and variance, its equation solved by bisection."""
    d = count[count > 1] - 1.0
    z = np.log(squares[count > 1] / d)
    e = z - digamma(d / 2) + np.log(d / 2)
    excess = e.var(ddof=1) - polygamma(1, d / 2).mean()
    half = brentq(lambda x: polygamma(1, x) - excess, 1e-3, 1e9) if excess > 0 else math.inf
    worth = min(2 * half, 1e6)
    return worth, math.exp(e.mean() + digamma(worth / 2) - math.log(worth / 2))


def expected_scores(phi: Any, inside: Any, predictive: str) -> Any:
    """One target, one query: every example by itself, densities by SciPy."""
    target, shadows = phi[0], phi[1:]
    examples = range(len(target))
    sides = {}
    for side, which in (("in", inside), ("out", ~inside)):
        values = [shadows[which[:, i], i] for i in examples]
        count = np.array([len(v) for v in values])
        mean = np.array([v.mean() if len(v) else np.nan for v in values])
        squares = np.array([((v - v.mean()) ** 2).sum() if len(v) else 0.0 for v in values])
        sides[side] = count, mean, squares, *smyth(squares, count)
    n_in, m_in, s_in, worth_in, scale_in = sides["in"]
    n_out, m_out, s_out, worth_out, scale_out = sides["out"]
    both = (n_in > 0) & (n_out > 0)
    shift = np.average((m_in - m_out)[both], weights=n_in[both])
    stable = (worth_in * scale_in + s_in) / (worth_in + np.maximum(n_in - 1, 0))
    off = m_in - m_out - shift
    kappa = 1 / max((off**2 / stable)[both].mean() - (1 / n_in[both]).mean(), 1e-6)
    scores = []
    for i in examples:
        near = kappa + n_in[i]
        center = m_out[i] + shift
        squares = worth_in * scale_in + s_in[i]
        if n_in[i]:
            squares += kappa * n_in[i] / near * off[i] ** 2
            center = (kappa * center + n_in[i] * m_in[i]) / near
        with_it = worth_in + n_in[i], center, squares / (worth_in + n_in[i]), near
        free = worth_out + n_out[i] - 1
        without = free, m_out[i], (worth_out * scale_out + s_out[i]) / free, n_out[i]

        def log_density(believed: Any, x: float = target[i]) -> float:
            free, center, variance, shadows = believed
            if predictive == "normal":
                return float(norm.logpdf(x, center, math.sqrt(variance)))
            return float(t.logpdf(x, free, center, math.sqrt(variance * (1 + 1 / shadows))))

        scores.append(log_density(with_it) - log_density(without))
    return np.array(scores)


@pytest.mark.parametrize("predictive", ["t", "normal"])
@pytest.mark.parametrize("by_coin", [False, True])
def test_scores_are_ratios_of_predictive_densities(predictive: Any, by_coin: bool) -> None:
    signals, _ = memory(1.5, shadows=8, examples=150, seed=3)
    role = signals.shadow_role.clone()
    if by_coin:
        coins = torch.rand(role.shape, generator=torch.Generator().manual_seed(9)) < 0.35
        role = torch.where(coins, Role.MEMBER, Role.NON_MEMBER).byte()
        role[:, 0], role[:, 1] = Role.MEMBER, Role.NON_MEMBER  # one side only
    phi = torch.cat([signals.target.logits[..., 0], signals.shadows.logits[:, 0, :, 0]])
    signals = signals_of(phi[:1], phi[1:, None], role)
    found = BaVarIA(predictive=predictive).score(signals)
    inside = (role == Role.MEMBER).numpy()
    told = np.arange(150) >= (1 if by_coin else 0)
    expected = expected_scores(phi.numpy(), inside, predictive)[told]
    np.testing.assert_allclose(found.score.numpy()[told], expected, rtol=1e-8, atol=1e-8)
    if by_coin:
        assert found.left_out is not None
        assert found.left_out.nonzero().flatten().tolist() == [0]
        assert found.offline is not None
        assert bool(found.offline[1])
        assert bool(found.score[0].isnan())


def test_the_prior_is_found_again_in_variances_drawn_from_it() -> None:
    # 4 degrees of freedom, variance 2: the score of a far value is then known in closed form.
    draw = np.random.default_rng(0)
    variance = 4 * 2 / draw.chisquare(4, size=20_000)
    outside = draw.normal(0, np.sqrt(variance), size=(6, 20_000))
    away = torch.full((1, 1, 20_000), 5.0, dtype=torch.float64)
    shadows = Shadows(
        torch.from_numpy(outside)[:, None],
        torch.zeros(6, 20_000, dtype=torch.bool),
        torch.ones(6, 20_000, dtype=torch.bool),
        torch.ones(1, 6, dtype=torch.bool),
    )
    score = posterior_ratios(away, shadows, online=False, predictive="t")[0].numpy()
    mean, squares = outside.mean(0), outside.var(0) * 6
    posterior = (4 * 2 + squares) / 9
    chance = t.sf((5 - mean) / np.sqrt(posterior * 7 / 6), 9)
    # The learned prior is near the true one, and the deviate has the tail of the t.
    np.testing.assert_allclose(norm.sf(score), chance, rtol=0.12)


def test_offline_is_the_deviate_of_the_tail_and_never_rounds_away() -> None:
    signals, _ = memory(1.0, shadows=6, examples=60)
    role = torch.full_like(signals.shadow_role, Role.NON_MEMBER)
    far = signals.target.logits[..., 0] + 1e6 * torch.arange(1, 61)
    signals = signals_of(far, signals.shadows.logits[..., 0], role)
    score = BaVarIA(mode="offline").score(signals).score
    assert bool(score.isfinite().all())
    assert len(set(score.tolist())) == 60


def test_one_pair_of_shadows_is_enough() -> None:
    signals, inside = memory(2.0, shadows=2, examples=2000)
    answer = BaVarIA().score(signals)
    assert answer.decision is None  # nobody else can take the pair's place
    # φ_in - φ_out tells the shift and the variance; the best test with both known has this AUC.
    assert area(answer.score.numpy(), inside.numpy()) > 0.8


@pytest.mark.parametrize("shadows", [2, 4, 8, 32])
def test_with_few_shadows_it_finds_what_lira_finds_and_more(shadows: int) -> None:
    signals, inside = memory(0.0, shadows=shadows, examples=4000, seed=2)
    draw = torch.Generator().manual_seed(1)
    scatter = 1.5 * torch.rand(4000, generator=draw, dtype=torch.float64).square() + 0.2
    member = torch.cat([inside[None], signals.shadow_role == Role.MEMBER])[:, None]
    phi = torch.cat([signals.target.logits[None, ..., 0], signals.shadows.logits[..., 0]])
    noise = torch.randn(phi.shape, generator=draw, dtype=torch.float64)
    phi = phi.mean(0) + member + scatter * noise
    signals = signals_of(phi[0], phi[1:], signals.shadow_role)
    found = area(BaVarIA().score(signals).score.numpy(), inside.numpy())
    least = area((phi[0] - phi[1:].mean(0))[0].numpy(), inside.numpy()) - 0.02
    for variance in ("per_example", "global") if shadows > 2 else ():
        lira = LiRA(variance=variance).score(signals).score.numpy()
        least = max(least, area(lira, inside.numpy()))
    assert found > least - 0.003


def test_noise_tells_nothing() -> None:
    areas = []
    for seed in range(20):
        signals, inside = memory(0.0, shadows=4, examples=400, seed=seed)
        areas.append(area(BaVarIA().score(signals).score.numpy(), inside.numpy()))
    assert abs(np.mean(areas) - 0.5) < 3 * 0.029 / math.sqrt(20)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_shadows_that_all_agree_are_no_error(mode: Any) -> None:
    signals, _ = memory(1.0, shadows=6, examples=40)
    phi = signals.shadows.logits[..., 0].clone()
    phi[:, :, :30] = 36.0  # most answer alike to the last digit
    signals = signals_of(signals.target.logits[..., 0], phi, signals.shadow_role)
    assert bool(BaVarIA(mode=mode).score(signals).score.isfinite().all())
    phi[:] = 36.0
    signals = signals_of(signals.target.logits[..., 0], phi, signals.shadow_role)
    assert bool(BaVarIA(mode=mode).score(signals).score.isfinite().all())


def test_adding_a_constant_and_scaling_change_no_rank() -> None:
    signals, _ = memory(1.0, shadows=6, examples=80)
    target, phi = signals.target.logits[..., 0], signals.shadows.logits[..., 0]
    other = signals_of(7 * target + 3, 7 * phi + 3, signals.shadow_role)
    for mode in ("online", "offline"):
        attack = BaVarIA(mode=mode)
        left, right = attack.score(signals).score, attack.score(other).score
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


def test_without_shadows_of_the_other_side_it_says_what_is_missing() -> None:
    signals, _ = memory(1.0, shadows=4, examples=30)
    everywhere = torch.full_like(signals.shadow_role, Role.MEMBER)
    signals = signals_of(signals.target.logits[..., 0], signals.shadows.logits[..., 0], everywhere)
    with pytest.raises(ShortageError, match="bavaria can score no row: all 30 lack a shadow"):
        BaVarIA().score(signals)
