"""The threshold attacks against loops over probabilities, exact decimals and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from privaudit import Attack, Outputs, PrivauditError, Role, ShortageError, Signals
from privaudit_plugins.attacks._log_space import log_entropy, log_modified_entropy, log_odds
from privaudit_plugins.attacks._pool import Pool
from privaudit_plugins.attacks.thresholds import (
    Confidence,
    Correctness,
    Entropy,
    ModifiedEntropy,
    Top1Confidence,
    class_thresholds,
)

CLASSES = 4
FLOOR = 1e-30  # where the papers' code clamps


def probabilities(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(z - top) for z in logits]
    return [power / sum(powers) for power in powers]


def confidence(p: list[float], y: int) -> float:
    return p[y]


def minus_entropy(p: list[float], y: int) -> float:
    return sum(q * math.log(max(q, FLOOR)) for q in p)


def minus_modified_entropy(p: list[float], y: int) -> float:
    rest = sum(q * math.log(max(1 - q, FLOOR)) for i, q in enumerate(p) if i != y)
    return (1 - p[y]) * math.log(max(p[y], FLOOR)) + rest


def top1_confidence(p: list[float], y: int) -> float:
    return max(p)


Number = Callable[[list[float], int], float]
LEARNT: list[tuple[Attack, Number]] = [
    (Confidence(), confidence),
    (Entropy(), minus_entropy),
    (ModifiedEntropy(), minus_modified_entropy),
    (Top1Confidence(), top1_confidence),
]
learnt = pytest.mark.parametrize(("attack", "number"), LEARNT, ids=lambda a: getattr(a, "name", ""))


def as_signals(
    logits: Tensor, y: Tensor, role: Tensor, shadow_logits: Tensor, shadow_role: Tensor
) -> Signals:
    """From logits (N, C) and (K, N, C) and roles (N,) and (K, N)."""
    return Signals(
        x=torch.zeros(len(y), 1),
        y=y,
        audited=role != Role.OUTSIDE,
        target=Outputs(logits[None]),
        shadows=Outputs(shadow_logits[:, None]),
        shadow_role=shadow_role.to(torch.uint8),
    )


def shadow_as_target(examples: int = 240, seed: int = 3) -> tuple[Signals, Tensor]:
    """One shadow, surer of its members and of some classes, which is the target as well.

    The membership of the audited examples comes beside it.
    """
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    role = torch.randint(0, 3, (examples,), generator=draw)
    logits = torch.randn(examples, CLASSES, generator=draw)
    logits[torch.arange(examples), y] += 1 + 1.5 * (role == Role.MEMBER) + y
    return as_signals(logits, y, role, logits[None], role[None]), role == Role.MEMBER


def best_by_brute_force(values: list[float], member: list[bool]) -> float:
    """The best balanced accuracy of "member if value ≥ t" over all t."""

    def accuracy(threshold: float) -> float:
        right = [
            (value >= threshold) == inside for value, inside in zip(values, member, strict=True)
        ]
        caught = sum(r for r, inside in zip(right, member, strict=True) if inside)
        spared = sum(right) - caught
        return (caught / sum(member) + spared / (len(member) - sum(member))) / 2

    return max(accuracy(t) for t in [*values, math.inf])


def test_numbers_are_those_of_a_loop_over_probabilities() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(60, CLASSES, generator=draw, dtype=torch.float64)
    logits[0] = 0.0
    y = torch.randint(CLASSES, (60,), generator=draw)
    odds, entropy, modified = log_odds(logits), log_entropy(logits), log_modified_entropy(logits, y)
    for n, (row, label) in enumerate(zip(logits.tolist(), y.tolist(), strict=True)):
        p = probabilities(row)
        for i in range(CLASSES):
            assert float(odds[n, i]) == pytest.approx(math.log(p[i] / (1 - p[i])), rel=1e-6)
        assert math.exp(entropy[n]) == pytest.approx(-minus_entropy(p, label), rel=1e-9)
        assert math.exp(modified[n]) == pytest.approx(-minus_modified_entropy(p, label), rel=1e-9)


def test_two_classes_by_hand() -> None:
    # p = (3/4, 1/4): H = 2 ln 2 - 3/4 ln 3, modified -1/4 ln 3/4 · 2 and -3/4 ln 1/4 · 2.
    logits = torch.tensor([[math.log(3.0), 0.0]] * 2, dtype=torch.float64)
    y = torch.tensor([0, 1])
    assert log_odds(logits)[0].tolist() == pytest.approx([math.log(3), -math.log(3)])
    expected = 2 * math.log(2) - 0.75 * math.log(3)
    assert log_entropy(logits).exp().tolist() == pytest.approx([expected] * 2)
    assert log_modified_entropy(logits, y).exp().tolist() == pytest.approx(
        [-0.5 * math.log(0.75), -1.5 * math.log(0.25)]
    )


@pytest.mark.parametrize("gap", [0.0, 1e-9, 5.0, 36.0, 41.0, 200.0, 900.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_no_certainty_is_rounded_away(gap: float, label: int) -> None:
    row = [gap, 0.0, -1.0]
    logits = torch.tensor([row], dtype=torch.float64)
    with localcontext() as context:
        context.prec = 60 + int(gap)
        powers = [Decimal(z).exp() for z in row]
        p = [power / sum(powers) for power in powers]
        odds = [float((q / (1 - q)).ln()) for q in p]
        entropy = -sum((q * q.ln() for q in p), Decimal(0))
        rest = sum(q * (1 - q).ln() for i, q in enumerate(p) if i != label)
        modified = -(1 - p[label]) * p[label].ln() - rest
        expected = float(entropy.ln()), float(modified.ln())
    assert log_odds(logits)[0].tolist() == pytest.approx(odds, rel=1e-12, abs=1e-12)
    found = float(log_entropy(logits)), float(log_modified_entropy(logits, torch.tensor([label])))
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@learnt
def test_verdict_is_the_best_that_brute_force_finds(attack: Attack, number: Number) -> None:
    # The shadow is the target: its verdicts must be as good as the best threshold of each class.
    signals, inside = shadow_as_target()
    scores = attack.score(signals)
    assert scores.decision is not None
    groups = [range(CLASSES)] if attack.name == "top1_confidence" else [[c] for c in range(CLASSES)]
    for group in groups:
        rows = [n for n in signals.audited.nonzero()[:, 0].tolist() if int(signals.y[n]) in group]
        member = [bool(inside[n]) for n in rows]
        numbers = [
            number(probabilities(signals.target.logits[0, n].tolist()), int(signals.y[n]))
            for n in rows
        ]
        best = best_by_brute_force(numbers, member)
        found = best_by_brute_force([float(scores.decision[n]) for n in rows], member)
        at_zero = [float(scores.score[n] >= 0) for n in rows]
        assert found == pytest.approx(best)
        assert at_zero == [float(scores.decision[n]) for n in rows]
        assert best > 0.6
        # Within a class the score keeps the order of the number.
        by_number = sorted(range(len(rows)), key=numbers.__getitem__)
        ordered = [float(scores.score[rows[i]]) for i in by_number]
        assert ordered == sorted(ordered)


def test_one_threshold_or_one_of_each_class() -> None:
    signals, _ = shadow_as_target()
    audited = signals.audited
    odds = log_odds(signals.target.logits[0, audited].double())
    y = signals.y[audited]
    shift = odds.amax(-1) - Top1Confidence().score(signals).score[audited]
    assert float(shift.std()) < 1e-12
    shift = odds[torch.arange(len(y)), y] - Confidence().score(signals).score[audited]
    limits = torch.stack([shift[y == c].mean() for c in range(CLASSES)])
    torch.testing.assert_close(shift, limits[y])
    assert len({round(limit, 6) for limit in limits.tolist()}) == CLASSES


def test_class_without_shadow_non_members_takes_the_threshold_of_all() -> None:
    value = torch.tensor([1.0, 3.0, 10.0, 20.0, 5.0, 6.0], dtype=torch.float64)
    y = torch.tensor([0, 0, 2, 2, 3, 3])
    member = torch.tensor([False, True, False, True, True, True])
    # Of all: non-members 1 and 10, members 3, 5, 6, 20; three quarters lie right at 2.
    limits = class_thresholds(Pool(value, y, member), 5)
    assert limits.tolist() == [2.0, 2.0, 15.0, 2.0, 2.0]


@learnt
def test_thresholds_come_from_all_shadows_and_their_own_rows_only(
    attack: Attack, number: Number
) -> None:
    signals, _ = shadow_as_target()
    draw = torch.Generator().manual_seed(8)
    more = signals.shadows.logits[:, 0] + torch.randn(1, len(signals.y), CLASSES, generator=draw)
    role = signals.shadow_role[:, torch.randperm(len(signals.y), generator=draw)]
    both = replace(
        signals,
        shadows=Outputs(torch.stack([signals.shadows.logits[0], more])),
        shadow_role=torch.cat([signals.shadow_role, role]),
    )
    known = both.shadow_role != Role.OUTSIDE
    garbled = torch.where(known[:, None, :, None], both.shadows.logits, torch.nan)
    target = torch.where(signals.audited[:, None], signals.target.logits, torch.nan)
    again = replace(both, shadows=Outputs(garbled), target=Outputs(target))
    scores, other = attack.score(both), attack.score(again)
    torch.testing.assert_close(scores.score, other.score, rtol=0, atol=0, equal_nan=True)
    assert bool(scores.score[~signals.audited].isnan().all())
    assert not torch.equal(
        scores.score[signals.audited], attack.score(signals).score[signals.audited]
    )


def test_correctness_calls_who_is_right_a_member() -> None:
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 5.0], [0.0, 5.0]])
    role = torch.tensor([Role.MEMBER, Role.NON_MEMBER, Role.OUTSIDE, Role.MEMBER])
    nobody = torch.zeros(0, 4, 2), torch.zeros(0, 4)
    scores = Correctness().score(as_signals(logits, torch.tensor([0, 1, 1, 1]), role, *nobody))
    assert scores.score[[0, 1, 3]].tolist() == [1.0, 0.0, 1.0]
    assert scores.decision is not None
    assert scores.decision.tolist() == [True, False, False, True]


@learnt
def test_threshold_attack_names_what_it_lacks(attack: Attack, number: Number) -> None:
    signals, _ = shadow_as_target()
    nobody = torch.tensor([], dtype=torch.int64)
    alone = replace(
        signals, shadows=signals.shadows[nobody], shadow_role=signals.shadow_role[nobody]
    )
    members_only = replace(signals, shadow_role=torch.full_like(signals.shadow_role, Role.MEMBER))
    for lacking in (alone, members_only):
        with pytest.raises(ShortageError, match=rf"^{attack.name} .* non-members of . shadows?$"):
            attack.score(lacking)
    broken = replace(signals, target=Outputs(torch.full_like(signals.target.logits, torch.inf)))
    with pytest.raises(PrivauditError, match="the target answers NaN or infinity"):
        attack.score(broken)
    broken = replace(signals, shadows=Outputs(torch.full_like(signals.shadows.logits, torch.nan)))
    with pytest.raises(PrivauditError, match="shadow 0 answers NaN or infinity"):
        attack.score(broken)
