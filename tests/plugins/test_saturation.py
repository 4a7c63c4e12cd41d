"""Sure networks are told apart: scores that never round, and infinite log-odds that are ranked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from torch import Tensor

from privaudit import Attack, Outputs, PrivauditError, Role, Signals
from privaudit_plugins.attacks._phi import finite_ends
from privaudit_plugins.attacks.lira import LiRA
from privaudit_plugins.attacks.loss import Loss
from privaudit_plugins.attacks.population import Population
from privaudit_plugins.attacks.quantile import Quantile
from privaudit_plugins.attacks.reference import Reference
from privaudit_plugins.attacks.thresholds import (
    Confidence,
    Entropy,
    ModifiedEntropy,
    Top1Confidence,
)

MARGINS = np.concatenate([-np.geomspace(1e4, 1e-2, 25), [0.0], np.geomspace(1e-2, 1e4, 25)])
"""Of the true class's logit above all others."""

OF_THE_TRUE_CLASS: list[Attack] = [
    Loss(), Confidence(), Population(), Quantile(), Reference(), Reference(scale="log_odds"),
    LiRA(mode="online"), LiRA(mode="offline"), LiRA(variance="per_example", mode="offline"),
]  # fmt: skip
WHERE_IT_IS_RIGHT: list[Attack] = [ModifiedEntropy(), Top1Confidence(), Entropy()]
"""These look at other classes too: where the true class is the likeliest, they rise with it."""


def sure(margins: Any, dtype: torch.dtype) -> Signals:
    """A row for each margin, and between them the population; shadows know all rows alike."""
    rows = torch.tensor(np.sort(np.concatenate([margins, margins + 3e-3])))
    count = len(rows)

    def logits(phi: Tensor) -> Outputs:
        others = torch.zeros(*phi.shape, 3, dtype=dtype)
        others[..., 0] = phi.to(dtype)
        return Outputs(others)

    # As wide with the example as without: else a likelihood ratio is no rising function.
    noise = torch.tensor([-0.5, -0.5, 0.5, 0.5]).double()[:, None, None].expand(4, 1, count)
    inside = torch.tensor([True, False, True, False])[:, None].expand(4, count)
    audited = torch.arange(count) % 2 == 0
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).byte()
    return Signals(
        x=torch.zeros(count, 1),
        y=torch.zeros(count, dtype=torch.int64),
        audited=audited,
        target=logits(rows[None]),
        shadows=logits(noise + 2.0 * inside[:, None]),
        shadow_role=role.masked_fill(~audited, Role.OUTSIDE),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("attack", "margins"),
    [(attack, MARGINS) for attack in OF_THE_TRUE_CLASS]
    + [(attack, MARGINS[MARGINS >= 0]) for attack in WHERE_IT_IS_RIGHT],
    ids=lambda value: value.name if isinstance(value, Attack) else "",
)
def test_a_surer_answer_scores_higher_however_sure(
    attack: Attack, margins: Any, dtype: torch.dtype
) -> None:
    signals = sure(margins, dtype)
    score = attack.score(signals).score[signals.audited]
    assert bool((score.diff() > 0).all()), score
    assert bool(score.isfinite().all())


def forest() -> tuple[Signals, Any, Any]:
    """Forests that answer with many zeros: a target, four shadows in pairs, its membership."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(300, 6)), draw.integers(0, 3, 300)
    x[:, 0] += y
    half = draw.random((3, 300)) < 0.5
    inside = np.stack([half[0], half[1], ~half[1], half[2], ~half[2]])
    models = [
        RandomForestClassifier(10, random_state=number).fit(x[rows], y[rows])
        for number, rows in enumerate(inside)
    ]
    p = np.stack([model.predict_proba(x) for model in models])
    with np.errstate(divide="ignore"):
        logits = torch.tensor(np.log(p))[:, None]
    role = torch.where(torch.tensor(inside), Role.MEMBER, Role.NON_MEMBER).byte()
    signals = Signals(
        x=torch.tensor(x).float(),
        y=torch.tensor(y),
        audited=torch.ones(300, dtype=torch.bool),
        target=Outputs(logits[0]),
        shadows=Outputs(logits[1:]),
        shadow_role=role[1:],
    )
    return signals, inside[0], p[0, np.arange(300), y]


def test_answers_of_probability_zero_and_one_are_ranked() -> None:
    signals, members, p = forest()
    assert (p == 0).any()
    assert (p == 1).any()
    score = Loss().score(signals).score.round(decimals=9)  # sums of tenths differ in the last bit
    assert roc_auc_score(members, score) == pytest.approx(roc_auc_score(members, p))
    attacks = [Confidence(), Entropy(), ModifiedEntropy(), Top1Confidence(), Reference(), LiRA()]
    for attack in (*attacks, LiRA(mode="offline"), Reference(scale="log_odds")):
        scores = attack.score(signals)
        assert bool(scores.score.isfinite().all()), attack
        assert roc_auc_score(members, scores.score) > 0.7, attack
    outside = torch.arange(300) % 3 == 0
    role = signals.shadow_role.masked_fill(outside, Role.OUTSIDE)
    signals = replace(signals, audited=~outside, shadow_role=role)
    for attack in (Population(), Quantile()):
        score = attack.score(signals).score[~outside]
        assert bool(score.isfinite().all()), attack
        assert roc_auc_score(members[~outside], score) > 0.7, attack


def test_a_zero_stands_for_half_of_the_smallest_probability_seen() -> None:
    one = torch.tensor([-torch.inf, 1.0, torch.nan])
    low, high = finite_ends(one, torch.tensor([torch.inf, -2.0]))
    assert low[:2].tolist() == pytest.approx([-2 - math.log(2), 1.0])
    assert bool(low[2].isnan())
    assert high.tolist() == pytest.approx([1 + math.log(2), -2.0])
    nowhere = finite_ends(torch.tensor([torch.inf, -torch.inf]))[0]
    assert nowhere.tolist() == pytest.approx([math.log(2), -math.log(2)])


@pytest.mark.parametrize(
    ("spoil", "refused"),
    [
        (lambda z: z.fill_(torch.nan), True),
        (lambda z: z.index_fill_(-1, torch.tensor([1]), torch.inf), True),
        (lambda z: z.fill_(-torch.inf), True),
        (lambda z: z.index_fill_(-1, torch.tensor([1]), -torch.inf), False),
    ],
    ids=["NaN", "infinity", "no class", "a zero"],
)
def test_only_a_logarithm_of_zero_may_be_infinite(
    spoil: Callable[[Tensor], Tensor], refused: bool
) -> None:
    signals, _, _ = forest()
    target = signals.target.logits.clone().nan_to_num(neginf=-9.0)
    spoil(target[:, 7])
    signals = replace(signals, target=Outputs(target))
    for attack in (Loss(), Confidence(), Reference(), LiRA()):
        if refused:
            with pytest.raises(PrivauditError, match="the target answers NaN or infinity"):
                attack.score(signals)
        else:
            assert bool(attack.score(signals).score.isfinite().all())
