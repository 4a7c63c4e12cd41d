"""InfoRMIA against its definition by loops, beside RMIA, and on noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from tests.plugins.test_rmia import memory, p_true

from privaudit import Outputs, Role, ShortageError, SplitOptions
from privaudit_plugins.attacks.informia import InfoRMIA
from privaudit_plugins.attacks.rmia import RMIA


def defined(target: Any, reference: Any, audited: Any) -> list[float]:
    """log p / P of each audited example, less what the population has on average."""
    ratio = [math.log(p) - math.log(q) for p, q in zip(target, reference, strict=True)]
    population = [r for r, own in zip(ratio, audited, strict=True) if not own]
    shift = sum(population) / len(population)
    return [r - shift for r, own in zip(ratio, audited, strict=True) if own]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_online_scores_equal_the_definition(temperature: float) -> None:
    signals, _ = memory(2.0)
    score = InfoRMIA(temperature=temperature).score(signals).score
    target, shadows = (p_true(o, signals.y, temperature) for o in (signals.target, signals.shadows))
    expected = defined(target, shadows.mean(0), signals.audited)
    assert score[signals.audited].tolist() == pytest.approx(expected, abs=1e-12)
    assert bool(score[~signals.audited].isnan().all())


def test_offline_scores_equal_the_definition() -> None:
    signals, _ = memory(2.0)
    score = InfoRMIA(mode="offline", a=0.3, temperature=1.0).score(signals).score
    target, shadows = (p_true(o, signals.y) for o in (signals.target, signals.shadows))
    without = (signals.shadow_role != Role.MEMBER).numpy()
    p_out = (shadows * without).sum(0) / without.sum(0)
    expected = defined(target, (1.3 * p_out + 0.7) / 2, signals.audited)
    assert score[signals.audited].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("temperature", ["auto", 1.0])
def test_it_ranks_as_rmia_does_with_ties_broken_by_the_ratio(temperature: Any) -> None:
    signals, _ = memory(2.0)
    own, shares = (
        attack.score(signals).score[signals.audited].numpy()
        for attack in (InfoRMIA(temperature=temperature), RMIA(temperature=temperature))
    )
    assert rankdata(own).tolist() == rankdata(shares).tolist()


def test_a_target_that_is_surer_of_everything_gets_the_same_scores() -> None:
    signals, _ = memory(2.0)
    attack = InfoRMIA(temperature=1.0)
    half = torch.from_numpy(p_true(signals.target, signals.y)) / 2
    own = signals.y[:, None] == torch.arange(3)
    odds = half.logit() + math.log(2)  # for two classes share the rest
    halved = torch.where(own, odds[:, None], 0.0)
    changed = replace(signals, target=Outputs(halved[None]))
    before, after = (attack.score(some).score[signals.audited] for some in (signals, changed))
    torch.testing.assert_close(before, after)


def test_no_population_is_no_shift() -> None:
    signals, _ = memory(2.0)
    alone = replace(signals, audited=torch.ones_like(signals.audited))
    role = alone.shadow_role.where(alone.shadow_role != Role.OUTSIDE, int(Role.NON_MEMBER))
    score = InfoRMIA(mode="offline", a=1.0, temperature=1.0).score(
        replace(alone, shadow_role=role.byte())
    )
    target, shadows = (p_true(o, signals.y) for o in (signals.target, signals.shadows))
    without = (role != Role.MEMBER).numpy()
    expected = np.log(target) - np.log((shadows * without).sum(0) / without.sum(0))
    assert score.score.tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_it_finds_members_decides_well_and_nothing_in_noise() -> None:
    signals, inside = memory(3.0, shadows=16, examples=1500)
    found = InfoRMIA().score(signals)
    member = inside[signals.audited].numpy()
    assert roc_auc_score(member, found.score[signals.audited].numpy()) > 0.8
    assert found.decision is not None
    assert balanced_accuracy_score(member, found.decision[signals.audited].numpy()) > 0.7
    signals, inside = memory(0.0, shadows=16, examples=1500)
    score = InfoRMIA().score(signals).score[signals.audited].numpy()
    assert abs(roc_auc_score(inside[signals.audited].numpy(), score) - 0.5) < 0.06


def test_what_it_lacks_is_said_by_its_name() -> None:
    signals, _ = memory(2.0)
    with pytest.raises(ShortageError, match=r"^informia can score no row: all 100 lack a shadow"):
        InfoRMIA(mode="online").score(
            replace(signals, shadow_role=torch.full_like(signals.shadow_role, Role.NON_MEMBER))
        )
    disjoint = SplitOptions(protocol="disjoint")
    assert "mode online needs shadows" in str(InfoRMIA(mode="online").refusal(disjoint, 2))
    assert InfoRMIA().refusal(disjoint, 2) is None
