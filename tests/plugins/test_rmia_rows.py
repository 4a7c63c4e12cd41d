"""RMIA row by row against its definition by loops, and the temperature it chooses for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor

from privaudit import Outputs, Role, Signals
from privaudit_plugins.attacks._rmia_rows import Known
from privaudit_plugins.attacks._rmia_tuning import TEMPERATURES
from privaudit_plugins.attacks.loss import Loss
from privaudit_plugins.attacks.rmia import RMIA


def signals_of(logits: Tensor, y: Tensor, inside: Tensor, audited: Tensor) -> Signals:
    """Signals from logits (1 + K, N, C) and membership (1 + K, N) of a target and its shadows."""
    role = torch.where(inside[1:], Role.MEMBER, Role.NON_MEMBER)
    return Signals(
        x=torch.empty(len(y), 0),
        y=y,
        audited=audited,
        target=Outputs(logits[:1]),
        shadows=Outputs(logits[1:, None]),
        shadow_role=role.masked_fill(~audited, Role.OUTSIDE).byte(),
    )


def drawn_by_coin(shadows: int = 6, seed: int = 0, effect: float = 1.5) -> tuple[Signals, Tensor]:
    """Shadows that have each example with probability one half, and the target's membership."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (400,), generator=draw)
    audited = torch.arange(400) < 300
    inside = (torch.rand(1 + shadows, 400, generator=draw) < 0.5) & audited
    own = y[:, None] == torch.arange(4)
    logits = torch.randn(1 + shadows, 400, 4, generator=draw)
    logits += own * (1 + 2 * torch.randn(400, 1, generator=draw))
    logits += effect * (inside[..., None] & own)
    return signals_of(logits, y, inside, audited), inside[0]


def by_loops(
    signals: Signals, temperature: float, a: float, mode: str
) -> tuple[list[float | None], list[bool]]:
    """For each audited example its share (γ = 1), None where it has none, and if P is guessed."""
    p = [_p_true(o.logits[0], signals.y, temperature) for o in (signals.target,)]
    p += [_p_true(logits[0], signals.y, temperature) for logits in signals.shadows.logits]
    ratio: list[float | None] = []
    guessed: list[bool] = []
    rows = range(len(signals.y))
    for x in rows:
        roles = signals.shadow_role[:, x].tolist()
        within = [p[1 + k][x] for k, r in enumerate(roles) if r == Role.MEMBER]
        without = [p[1 + k][x] for k, r in enumerate(roles) if r in (0, Role.NON_MEMBER)]
        audited = bool(signals.audited[x])
        guess = mode == "offline" or (mode == "auto" and audited and not within)
        guessed.append(guess)
        if not without or (mode == "online" and audited and not within):
            ratio.append(None)
        elif guess:
            ratio.append(p[0][x] / (((1 + a) * float(np.mean(without)) + 1 - a) / 2))
        else:
            ratio.append(p[0][x] / float(np.mean(within + without)))
    population = [r for x, r in zip(rows, ratio, strict=True) if not signals.audited[x] and r]
    shares = [
        None if r is None else sum(r >= z for z in population) / len(population)
        for x, r in zip(rows, ratio, strict=True)
        if signals.audited[x]
    ]
    return shares, [g for x, g in zip(rows, guessed, strict=True) if signals.audited[x]]


def _p_true(logits: Tensor, y: Tensor, temperature: float) -> NDArray[np.float64]:
    p = softmax(logits.double().numpy() / temperature, axis=-1)
    return np.asarray(p[np.arange(len(y)), y.numpy()])


@pytest.mark.parametrize("mode", ["auto", "online", "offline"])
def test_every_row_is_scored_by_the_shadows_it_has(mode: Any) -> None:
    signals, _ = drawn_by_coin()
    expected, guessed = by_loops(signals, 2.0, 0.33, mode)
    scores = RMIA(mode=mode, temperature=2.0, a=0.33, ties="keep").score(signals)
    audited = signals.audited
    missing = [share is None for share in expected]
    assert 0 < sum(missing) < 30
    assert scores.left_out is not None
    assert scores.left_out[audited].tolist() == missing
    assert scores.lacks.startswith("a shadow that was ")
    score = scores.score[audited]
    assert score.isnan().tolist() == missing
    known = [share for share in expected if share is not None]
    assert score[~score.isnan()].tolist() == pytest.approx(known, abs=1e-12)
    if mode == "auto":
        assert scores.offline is not None
        offline = [g and not m for g, m in zip(guessed, missing, strict=True)]
        assert scores.offline[audited].tolist() == offline
        assert any(offline)
    else:
        assert scores.offline is None


def test_shadows_in_turn_are_scored_by_the_other_shadows_alone() -> None:
    role = drawn_by_coin(shadows=4)[0].shadow_role[:, :300]
    inside, tested = role == Role.MEMBER, role == Role.NON_MEMBER
    known = Known(inside, tested, tested, "auto")
    kept = known.turns(4)
    scored, guessed = known.rows(kept)
    assert kept.tolist() == (~torch.eye(4).bool()).tolist()  # no two are complements
    for k in range(4):
        rest = [j for j in range(4) if j != k]
        for x in range(300):
            assert scored[k, x] == any(bool(tested[j, x]) for j in rest)
            assert guessed[k, x] == (not any(bool(inside[j, x]) for j in rest))


def test_one_row_without_shadows_changes_no_other() -> None:
    signals, _ = drawn_by_coin()
    whole = RMIA(temperature=2.0, a=0.33, ties="keep").score(signals).score
    role = signals.shadow_role.clone()
    role[:, 7] = Role.MEMBER
    without = RMIA(temperature=2.0, a=0.33, ties="keep").score(replace(signals, shadow_role=role))
    assert without.left_out is not None
    assert bool(without.left_out[7])
    rest = torch.arange(400) != 7
    assert torch.equal(without.score[rest].nan_to_num(), whole[rest].nan_to_num())


def test_decisions_from_coin_drawn_shadows_are_as_good_as_the_best_threshold() -> None:
    signals, inside = drawn_by_coin(shadows=12, effect=4.0)
    scores = RMIA().score(signals)
    assert scores.decision is not None
    scored = signals.audited & ~scores.score.isnan()
    score, member = scores.score[scored], inside[scored]
    best = max(balanced_accuracy_score(member, score >= t) for t in set(score.tolist()))
    assert balanced_accuracy_score(member, scores.decision[scored]) > best - 0.03 > 0.75


def test_chance_alone_gives_coin_drawn_rows_no_lead() -> None:
    """Shadows too few on a side are no sign of membership, with a temperature tuned on them too."""
    found = []
    for seed in range(12):
        signals, inside = drawn_by_coin(shadows=4, seed=seed, effect=0.0)
        scores = RMIA().score(signals)
        scored = signals.audited & ~scores.score.isnan()
        found.append(roc_auc_score(inside[scored], scores.score[scored]))
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found) / np.sqrt(12)
    assert abs(np.mean(found) - 0.5) < 0.03


def test_temperature_is_the_best_on_shadows_in_turn() -> None:
    signals, _ = drawn_by_coin(shadows=5)
    role, audited = signals.shadow_role.numpy(), signals.audited.numpy()
    quality = []
    for temperature in TEMPERATURES:
        p = [_p_true(logits[0], signals.y, temperature) for logits in signals.shadows.logits]
        both = [x for x in range(300) if 0 < (role[:, x] == Role.MEMBER).sum() < 5]
        lacking = [  # 1 - P_in and 1 - P_out of every example
            [np.mean([1 - p[k][x] for k in range(5) if role[k, x] == r]) for x in both]
            for r in (Role.MEMBER, Role.NON_MEMBER)
        ]
        a = np.mean(lacking[0]) / np.mean(lacking[1])
        assert 0 < a < 1
        aucs = []
        for k in range(5):
            rest = [j for j in range(5) if j != k]
            ratio, member = [], []
            for x in np.flatnonzero(audited):
                within = [p[j][x] for j in rest if role[j, x] == Role.MEMBER]
                without = [p[j][x] for j in rest if role[j, x] == Role.NON_MEMBER]
                if not without:
                    continue
                guess = (1 + a) * np.mean(without) + 1 - a
                mean = np.mean(within + without) if within else guess / 2
                ratio.append(p[k][x] / mean)
                member.append(role[k, x] == Role.MEMBER)
            aucs.append(roc_auc_score(member, ratio))
        quality.append(np.mean(aucs))
    best = TEMPERATURES[int(np.argmax(quality))]
    assert len(set(quality)) == len(TEMPERATURES)
    tuned = RMIA().score(signals).score.nan_to_num()
    for temperature in TEMPERATURES:
        same = torch.equal(tuned, RMIA(temperature=temperature).score(signals).score.nan_to_num())
        assert same == (temperature == best)


def test_temperature_is_two_where_no_shadow_can_be_attacked() -> None:
    signals, _ = drawn_by_coin(shadows=1)
    default, two = (r.score(signals).score.nan_to_num() for r in (RMIA(), RMIA(temperature=2.0)))
    assert torch.equal(default, two)


@pytest.mark.parametrize("shadows", [1, 6])
def test_logits_a_hundred_times_as_large_have_the_same_scores(shadows: int) -> None:
    signals, _ = drawn_by_coin(shadows=shadows)
    large, larger = (
        replace(
            signals,
            target=Outputs(signals.target.logits.double() * factor),
            shadows=Outputs(signals.shadows.logits.double() * factor),
        )
        for factor in (100.0, 10_000.0)
    )
    first, second = (RMIA().score(s).score[s.audited].nan_to_num() for s in (large, larger))
    assert torch.allclose(first, second, atol=0.02)


def confident(shadows: int, effect: float = 0.1) -> tuple[Signals, Tensor]:
    """A hundred classes, all answered rightly with confidence .98 to .999, by members surer."""
    examples = 3000
    draw = torch.Generator().manual_seed(5)
    y = torch.randint(100, (examples,), generator=draw)
    audited = torch.arange(examples) < examples * 2 // 3
    inside = torch.rand(1 + shadows, examples, generator=draw) < 0.5
    inside[2::2] = ~inside[1::2][: len(inside[2::2])]
    if shadows == 1:
        inside[1] = False
    inside &= audited
    lack = 1.7 + 1.3 * torch.rand(1 + shadows, examples, generator=draw).double() + effect * inside
    p = 1 - 10 ** -lack.clamp(max=3.0)
    rest = torch.rand(1 + shadows, examples, 100, generator=draw).double()
    rest[:, torch.arange(examples), y] = 0
    probabilities = rest / rest.sum(-1, keepdim=True) * (1 - p)[..., None]
    probabilities[:, torch.arange(examples), y] = p
    assert 0.98 <= float(p.min()) <= float(p.max()) <= 0.9991
    return signals_of(probabilities.log(), y, inside, audited), inside[0]


@pytest.mark.parametrize("shadows", [1, 2, 8])
def test_networks_that_are_sure_of_everything_are_told_apart(shadows: int) -> None:
    signals, inside = confident(shadows)
    audited = signals.audited
    blind = RMIA(gamma=2.0, temperature=1.0, ties="keep").score(signals).score[audited]
    assert set(blind.tolist()) == {0.0}  # no probability is twice another

    def auc(attack: Any) -> float:
        return float(roc_auc_score(inside[audited], attack.score(signals).score[audited]))

    by_loss = auc(Loss())
    assert by_loss > 0.53
    assert auc(RMIA()) > by_loss - 0.02
    assert len(set(RMIA().score(signals).score[audited].tolist())) > 1900


def test_members_with_margins_of_ten_thousand_are_found_at_any_temperature() -> None:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(10, (300,), generator=draw)
    audited = torch.arange(300) < 200
    inside = (torch.rand(9, 300, generator=draw) < 0.5) & audited
    logits = torch.randn(9, 300, 10, generator=draw).double()
    logits[:, torch.arange(300), y] += 10_000 + 8 * inside
    signals = signals_of(logits, y, inside, audited)
    for attack, least in ((RMIA(), 0.99), (RMIA(temperature=1.0), 0.9)):
        score = attack.score(signals).score
        scored = audited & ~score.isnan()
        assert roc_auc_score(inside[0, scored], score[scored]) > least
        assert len(set(score[scored].tolist())) == int(scored.sum())


def test_taylor_softmax_is_the_published_one() -> None:
    signals, _ = drawn_by_coin()

    def p(logits: NDArray[np.float64], label: int) -> float:
        def apx(z: float) -> float:
            return 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24

        own = apx(logits[label] / 2 - 0.6)
        return own / (own + sum(apx(z / 2) for i, z in enumerate(logits) if i != label))

    every = torch.cat([signals.target.logits, signals.shadows.logits[:, 0]]).double().numpy()
    every = np.array(
        [[p(z, int(label)) for z, label in zip(one, signals.y, strict=True)] for one in every]
    )
    log_p = torch.from_numpy(np.log(np.stack([every, 1 - every], -1)))  # two classes with these p
    same = replace(
        signals,
        y=torch.zeros_like(signals.y),
        target=Outputs(log_p[:1]),
        shadows=Outputs(log_p[1:, None]),
    )
    taylor = RMIA(softmax="taylor", temperature=2.0).score(signals).score.nan_to_num()
    plain = RMIA(temperature=1.0).score(same).score.nan_to_num()
    assert torch.allclose(taylor, plain, atol=1e-12)
    assert not torch.allclose(taylor, RMIA(temperature=2.0).score(signals).score.nan_to_num())


def test_an_odd_polynomial_is_refused() -> None:
    with pytest.raises(ValueError, match="must be even"):
        RMIA(softmax="taylor", taylor_order=3)
