"""The attack network of each class, against NumPy and on classes that it must not judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch import Tensor

from privaudit import Outputs, PrivauditError, Role, ShortageError, Signals
from privaudit.keys import derive
from privaudit_plugins.attacks.shokri import Shokri

CLASSES = 3
Numbers = NDArray[np.float64]


def signals(
    surer: tuple[float, ...], *, examples: int = 240, shadows: int = 3, seed: int = 3
) -> tuple[Signals, Tensor]:
    """Of networks that are surer of the members of each class by so much; and who is a member."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    inside = torch.rand(shadows + 1, examples, generator=draw) < 0.5
    logits = torch.randn(shadows + 1, 1, examples, CLASSES, generator=draw)
    logits[:, 0, torch.arange(examples), y] += 1 + torch.tensor(surer)[y] * inside
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).to(torch.uint8)
    outputs = Outputs(logits)
    asked = torch.ones(examples).bool()
    return Signals(torch.empty(examples, 0), y, asked, outputs[0], outputs[1:], role[1:]), inside[0]


def softmax(logits: Tensor) -> Numbers:
    z = np.exp(logits.double().numpy())
    return np.asarray(z / z.sum(-1, keepdims=True))


def trained_by_numpy(
    x: Numbers, member: NDArray[np.bool_], weights: list[Numbers], epochs: int, rate: float
) -> list[Numbers]:
    """One hidden layer of ReLU and a sigmoid by Adam, on all examples at once, none repeated."""
    share = np.where(member, 0.5 / member.sum(), 0.5 / (~member).sum())
    mean, square = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, epochs + 1):
        w1, b1, w2, b2 = weights
        hidden = np.maximum(x @ w1 + b1, 0)
        error = share * (1 / (1 + np.exp(-(hidden @ w2 + b2)[:, 0])) - member)
        back = (hidden > 0) * (error[:, None] * w2[:, 0])
        gradients = [x.T @ back, back.sum(0), hidden.T @ error[:, None], error.sum(keepdims=True)]
        mean = [0.9 * m + 0.1 * g for m, g in zip(mean, gradients, strict=True)]
        square = [0.999 * s + 0.001 * g * g for s, g in zip(square, gradients, strict=True)]
        weights = [
            w - rate * (m / (1 - 0.9**step)) / (np.sqrt(s / (1 - 0.999**step)) + 1e-8)
            for w, m, s in zip(weights, mean, square, strict=True)
        ]
    return weights


def test_each_class_has_the_network_that_numpy_trains_on_its_own_examples() -> None:
    given, _ = signals((2.0, 0.5, -1.0), examples=60)
    attack = Shokri(hidden=5, epochs=20, batch_size=1000)
    found = attack.score(given)
    assert found.left_out is None
    role, y = given.shadow_role.numpy(), given.y.numpy()
    for label in range(CLASSES):
        own = y == label
        x = np.concatenate([softmax(given.shadows.logits[k, 0])[own] for k in range(len(role))])
        member = np.concatenate([role[k][own] == Role.MEMBER for k in range(len(role))])
        draw = torch.Generator().manual_seed(derive(given.seed, "shokri", label))
        start = []
        for inputs, outputs in ((CLASSES, 5), (5, 1)):
            for shape in ((1, inputs, outputs), (1, 1, outputs)):
                uniform = 2 * torch.rand(shape, generator=draw, dtype=torch.float64) - 1
                start.append(uniform[0].numpy() / inputs**0.5)
        w1, b1, w2, b2 = trained_by_numpy(
            x, member, [start[0], start[1][0], start[2], start[3][0]], epochs=20, rate=0.01
        )
        expected = np.maximum(softmax(given.target.logits[0])[own] @ w1 + b1, 0) @ w2 + b2
        np.testing.assert_allclose(found.score[own], expected[:, 0], rtol=2e-3, atol=2e-4)
    assert found.decision is not None
    assert torch.equal(found.decision, found.score >= 0)


def test_a_class_whose_members_are_less_sure_is_told_as_well_as_one_whose_are_surer() -> None:
    given, member = signals((6.0, -6.0, 6.0))
    found = Shokri(epochs=30).score(given)
    for label in range(CLASSES):
        own = given.y == label
        assert roc_auc_score(member[own].numpy(), found.score[own].numpy()) > 0.9


def test_a_class_learns_nothing_from_the_examples_of_another() -> None:
    given, _ = signals((2.0, 2.0, 2.0))
    attack = Shokri(epochs=3)
    before = attack.score(given).score
    first = given.y == 0
    logits = given.shadows.logits.where(~first[:, None], -given.shadows.logits)
    after = attack.score(replace(given, shadows=Outputs(logits))).score
    assert torch.equal(before[~first], after[~first])
    assert not torch.equal(before[first], after[first])


def test_targets_are_scored_together_as_they_are_alone() -> None:
    several = [signals((2.0, 2.0, 2.0), seed=seed)[0] for seed in (1, 2, 3)]
    attack = Shokri(epochs=3)
    together = attack.score_all(several)
    for one, scores in zip(several, together, strict=True):
        torch.testing.assert_close(attack.score(one).score, scores.score)


def test_a_class_with_too_few_members_is_left_out_and_named() -> None:
    given, _ = signals((2.0, 2.0, 2.0))
    rare = given.y == 2
    role = given.shadow_role.clone()
    role[:, rare] = Role.NON_MEMBER
    role[0, rare.nonzero()[:9, 0]] = Role.MEMBER
    given = replace(given, shadow_role=role)
    found = Shokri(epochs=1).score(given)
    assert found.left_out is not None
    assert torch.equal(found.left_out, rare)
    assert found.lacks == "10 members and 10 non-members of their class among the shadows"
    assert bool(found.score[rare].isnan().all())
    assert Shokri(epochs=1, least=9).score(given).left_out is None


def test_whom_the_target_is_asked_about_changes_nothing_about_who_is_left_out() -> None:
    given, _ = signals((2.0, 2.0, 2.0))
    rare = given.y == 2
    given = replace(given, shadow_role=given.shadow_role.masked_fill(rare, Role.OUTSIDE))
    given = replace(given, audited=torch.arange(len(given.y)) % 2 == 0)
    found = Shokri(epochs=1).score(given)
    assert found.left_out is not None
    assert torch.equal(found.left_out, rare & given.audited)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.NON_MEMBER])
def test_shadows_without_members_or_non_members_are_refused(role: Role) -> None:
    given, _ = signals((2.0, 2.0, 2.0))
    with pytest.raises(ShortageError, match="shokri learns from shadows' members and non-members"):
        Shokri().score(replace(given, shadow_role=torch.full_like(given.shadow_role, role)))


def test_where_no_class_has_enough_nobody_is_scored() -> None:
    given, _ = signals((2.0, 2.0, 2.0))
    with pytest.raises(ShortageError, match=r"shokri can score no row.*1000 members"):
        Shokri(least=1000).score(given)


def test_a_diverged_network_is_told() -> None:
    given, _ = signals((2.0, 2.0, 2.0))
    broken = Outputs(torch.full_like(given.target.logits, torch.nan))
    with pytest.raises(PrivauditError, match="the target answers NaN"):
        Shokri().score(replace(given, target=broken))


@pytest.mark.parametrize(
    "options", [{"hidden": 0}, {"least": 0}, {"learning_rate": float("nan")}, {"width": 3}]
)
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Shokri.model_validate(options)
