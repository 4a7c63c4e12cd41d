"""Row by row: scores against loops, who is left out, and what being left out must not tell."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact, norm
from torch import Tensor

from privaudit import Attack, Outputs, Role, ShortageError, Signals
from privaudit.statistics.metrics import roc_auc
from privaudit_plugins.attacks._lira import Shadows, likelihood_ratios
from privaudit_plugins.attacks.lira import LiRA
from privaudit_plugins.attacks.reference import Reference


def by_coin(
    *, shadows: int = 5, rows: int = 300, chance: float = 0.5, effect: float = 2.0, seed: int = 0
) -> tuple[Signals, Tensor]:
    """Two classes whose logit φ is difficulty + effect · member + noise; shadows drawn by coin."""
    draw = torch.Generator().manual_seed(seed)
    inside = torch.rand(1 + shadows, rows, generator=draw) < chance
    hard = 3 * torch.randn(rows, generator=draw, dtype=torch.float64)
    noise = torch.randn(1 + shadows, rows, generator=draw, dtype=torch.float64)
    phi = (hard + effect * inside + noise)[:, None]
    logits = torch.stack([phi, torch.zeros_like(phi)], dim=-1)
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).byte()
    signals = Signals(
        x=torch.empty(rows, 0),
        y=torch.zeros(rows, dtype=torch.int64),
        audited=torch.ones(rows, dtype=torch.bool),
        target=Outputs(logits[0]),
        shadows=Outputs(logits[1:]),
        shadow_role=role[1:],
    )
    return signals, inside[0]


def parts(signals: Signals) -> tuple[Any, Any, Any]:
    """The target's φ (N,), the shadows' (K, N), and who was trained on what."""
    inside = (signals.shadow_role == Role.MEMBER).numpy()
    return (
        signals.target.logits[0, :, 0].numpy(),
        signals.shadows.logits[:, 0, :, 0].numpy(),
        inside,
    )


def lira_by_loops(signals: Signals, least: int) -> list[float]:
    """Online likelihood ratios, row by row; NaN where a row has too few out-shadows."""
    target, phi, inside = parts(signals)
    near = [phi[inside[:, i], i] for i in range(len(target))]
    far = [phi[~inside[:, i], i] for i in range(len(target))]
    shared = []
    for side in (near, far):
        rest = [values - values.mean() for values in side if len(values)]
        freedom = sum(len(values) - 1 for values in rest)
        shared.append(math.sqrt(sum((values**2).sum() for values in rest) / freedom))
    steps = np.concatenate(
        [a - b.mean() for a, b in zip(near, far, strict=True) if len(a) and len(b)]
    )
    shift, spread = steps.mean(), steps.std()
    scores = []
    for seen, a, b in zip(target, near, far, strict=True):
        if len(b) < least:
            scores.append(math.nan)
            continue
        sd_out = b.std() if least > 1 else shared[1]
        center, width = b.mean() + shift, spread
        if len(a) >= least:
            center, width = a.mean(), a.std() if least > 1 else shared[0]
        scores.append(norm.logpdf(seen, center, width) - norm.logpdf(seen, b.mean(), sd_out))
    return scores


@pytest.mark.parametrize(("variance", "least"), [("global", 1), ("per_example", 2)])
def test_lira_scores_each_row_by_the_shadows_it_has(variance: Any, least: int) -> None:
    signals, _ = by_coin()
    inside = (signals.shadow_role == Role.MEMBER).sum(0)
    scores = LiRA(variance=variance).score(signals)
    expected = lira_by_loops(signals, least)
    np.testing.assert_allclose(scores.score, expected, rtol=1e-7)
    assert scores.left_out is not None
    assert scores.offline is not None
    assert torch.equal(scores.left_out, inside > 5 - least)
    assert torch.equal(scores.offline, inside < least)
    assert 0 < int(scores.left_out.sum()) < 80
    assert "not trained on them" in scores.lacks
    strict = LiRA(variance=variance, mode="online").score(signals)
    assert strict.left_out is not None
    assert torch.equal(strict.left_out, scores.left_out | scores.offline)
    kept = ~strict.left_out
    assert torch.equal(strict.score[kept], scores.score[kept])


def test_shadows_in_turn_score_no_row_that_the_others_cannot() -> None:
    signals, _ = by_coin()
    inside = signals.shadow_role == Role.MEMBER
    phi = signals.shadows.logits[..., 0].double()
    kept = ~torch.eye(5, dtype=torch.bool)
    for per_example, least in ((True, 2), (False, 1)):
        score = likelihood_ratios(
            phi,
            Shadows(phi, inside, ~inside, kept),
            online=True,
            per_example=per_example,
            center="mean",
            pooled=True,
        )
        outside = torch.stack([(~inside)[kept[k]].sum(0) for k in range(5)])
        assert torch.equal(score.isnan(), outside < least)


def test_rows_without_in_shadows_rank_among_the_others_as_they_should() -> None:
    signals, inside = by_coin(shadows=4, rows=4000, effect=3.0)
    scores = LiRA().score(signals)
    assert scores.left_out is not None
    assert scores.offline is not None
    kept = ~scores.left_out
    mixed = roc_auc(scores.score[kept], inside[kept]).value
    offline = roc_auc(LiRA(mode="offline").score(signals).score[kept], inside[kept]).value
    alone = kept & ~scores.offline
    paired = roc_auc(scores.score[alone], inside[alone]).value
    assert mixed > offline + 0.003
    assert mixed > paired - 0.005
    # Members and non-members of both kinds of rows have ratios around the same threshold.
    right = (scores.score > 0) == inside
    assert float(right[scores.offline & kept].double().mean()) > 0.85


def test_few_rows_with_in_shadows_do_not_speak_for_all() -> None:
    signals, _ = by_coin(shadows=4, chance=0.05)
    assert bool(((signals.shadow_role == Role.MEMBER).sum(0) > 1).any())
    offline = LiRA(mode="offline").score(signals)
    mixed = LiRA().score(signals)
    torch.testing.assert_close(mixed.score, offline.score, rtol=0, atol=0, equal_nan=True)
    assert mixed.offline is None


@pytest.mark.parametrize("scale", ["log_loss", "log_odds"])
def test_reference_takes_the_mean_over_the_shadows_that_each_row_has(scale: Any) -> None:
    signals, _ = by_coin()
    target, phi, inside = parts(signals)

    def sure(odds: Any) -> Any:
        return odds if scale == "log_odds" else -np.log(np.log1p(np.exp(-odds)))

    scores = Reference(scale=scale).score(signals)
    assert scores.left_out is not None
    for i in range(len(target)):
        out = phi[~inside[:, i], i]
        assert bool(scores.left_out[i]) == (len(out) == 0)
        if len(out):
            expected = sure(target[i]) - sure(out).mean()
            assert float(scores.score[i]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


ATTACKS: list[Attack] = [LiRA(variance="per_example", mode="online"), Reference()]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_row_scores_the_same_whoever_else_can_be_scored(attack: Attack) -> None:
    signals, _ = by_coin()
    before = attack.score(signals)
    role = signals.shadow_role.clone()
    role[:, ::7] = Role.MEMBER
    after = attack.score(replace(signals, shadow_role=role))
    assert after.left_out is not None
    assert bool(after.left_out[::7].all())
    rest = torch.arange(300) % 7 != 0
    torch.testing.assert_close(
        before.score[rest], after.score[rest], rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("attack", [LiRA(), *ATTACKS], ids=lambda attack: attack.name)
def test_being_left_out_tells_nothing_of_the_target(attack: Attack) -> None:
    signals, inside = by_coin(rows=2000)
    scores = attack.score(signals)
    other = replace(signals, target=Outputs(-3 * signals.target.logits.flip(1)))
    again = attack.score(other)
    assert scores.left_out is not None
    assert again.left_out is not None
    assert torch.equal(scores.left_out, again.left_out)
    left = scores.left_out.numpy()
    table = [
        [int((left & side).sum()), int((~left & side).sum())]
        for side in (inside.numpy(), ~inside.numpy())
    ]
    assert fisher_exact(table).pvalue > 1e-3


def test_shadows_that_scatter_nowhere_are_not_enough() -> None:
    signals, _ = by_coin(shadows=2)
    role = signals.shadow_role
    role[1] = torch.where(role[0] == Role.MEMBER, Role.NON_MEMBER, Role.MEMBER)  # a pair
    with pytest.raises(ShortageError, match="all 300 lack 2 shadows that were not trained"):
        LiRA().score(replace(signals, shadow_role=role))
