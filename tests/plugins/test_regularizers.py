"""Label smoothing, confidence penalty, early stopping and mixup, each by a formula of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import log_softmax, softmax
from scipy.stats import beta, entropy, kstest
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from privaudit import (
    Defense,
    Step,
)
from privaudit.cohort import Cohort
from privaudit.keys import fold
from privaudit.testing import check_plugin
from privaudit.training import Training
from privaudit_plugins.defenses.ccl import ConvexConcaveLoss
from privaudit_plugins.defenses.confidence_penalty import ConfidencePenalty
from privaudit_plugins.defenses.early_stopping import EarlyStopping
from privaudit_plugins.defenses.hamp import HAMP
from privaudit_plugins.defenses.label_smoothing import LabelSmoothing
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.defenses.mixup import Mixup
from privaudit_plugins.defenses.ppb import PairBasedPosteriorBalancing
from privaudit_plugins.defenses.relaxloss import RelaxLoss

LOSSES = [
    RelaxLoss(),
    RelaxLoss(alpha=1e5),  # below the level
    RelaxLoss(alpha=1e5, flattening="table"),
    PairBasedPosteriorBalancing(),
    MinMax(width=0.02),
    LabelSmoothing(),
    ConfidencePenalty(),
    Mixup(),
    HAMP(),
    ConvexConcaveLoss(),
]


def step(logits: Tensor, y: Tensor, key: int = 0) -> Step:
    return Step(logits=logits, y=y, epoch=torch.tensor(0), key=torch.tensor(key))


def batch() -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return logits, torch.tensor([0, 1, 2, 3, 0, 1])


def attacker(defense: Defense, dtype: torch.dtype) -> nn.Module | None:
    torch.manual_seed(0)
    return defense.companion(3).to(dtype) if defense.reference else None


@pytest.mark.parametrize("defense", LOSSES, ids=lambda d: d.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_and_gradients_are_finite_at_extreme_logits_in_every_model(
    defense: Defense, dtype: torch.dtype
) -> None:
    sure = 1e4 * torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]], dtype=dtype)
    logits = torch.stack([sure, -sure, 0 * sure, sure.roll(1, -1)])
    y = torch.tensor([0, 1, 2, 2])
    companion = attacker(defense, dtype)

    def loss(z: Tensor, epoch: Tensor, key: Tensor) -> Tensor:
        return defense.loss(Step(logits=z, y=y, epoch=epoch, key=key, companion=companion))

    numbers = torch.arange(4)
    gradients, losses = vmap(grad_and_value(loss))(logits, numbers, numbers)
    assert bool(losses.isfinite().all())
    assert bool(gradients.isfinite().all())
    for model in range(4):
        alone = loss(logits[model], numbers[model], numbers[model])
        assert torch.allclose(losses[model], alone, rtol=1e-5)


@pytest.mark.parametrize("defense", LOSSES, ids=lambda d: d.name)
def test_a_model_is_defended_in_company_as_it_is_alone(
    make_cohort: Callable[..., Cohort], defense: Defense
) -> None:
    members = [20, 33, 48]

    def trained(models: list[int]) -> Tensor:
        cohort = make_cohort(members, models=models, defense=defense)
        cohort.fit(tune=True)
        return torch.stack([one.flat for one in cohort.states()])

    alone = torch.cat([trained([m]) for m in range(3)])
    assert (trained([0, 1, 2]) - alone).abs().max() < 1e-10


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_spreads_a_share_of_the_label(smoothing: float) -> None:
    logits, y = batch()
    labels = (1 - smoothing) * np.eye(4)[y.numpy()] + smoothing / 4
    expected = -(labels * log_softmax(logits.numpy(), axis=1)).sum(1).mean()
    assert abs(float(LabelSmoothing(smoothing=smoothing).loss(step(logits, y))) - expected) < 1e-12


def test_the_confidence_penalty_takes_the_weighted_entropy_from_the_loss() -> None:
    logits, y = batch()
    cost = -log_softmax(logits.numpy(), axis=1)[np.arange(6), y.numpy()].mean()
    expected = cost - 0.7 * entropy(softmax(logits.numpy(), axis=1), axis=1).mean()
    assert abs(float(ConfidencePenalty(weight=0.7).loss(step(logits, y))) - expected) < 1e-12


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 1.0), (0.25, 0.05), (1.0, 1.0), (0.0, 2.0)])
def test_the_convex_concave_loss_takes_the_exponential_of_the_confidence(
    alpha: float, beta: float
) -> None:
    logits, y = batch()
    p, hot = softmax(logits.numpy(), axis=1), np.eye(4)[y.numpy()]
    label = p[np.arange(6), y.numpy()]
    expected = beta * (-alpha * np.log(label) - (1 - alpha) * np.exp(label)).mean()
    # dp_y/dz = p_y (e_y - p)
    slope = -(alpha / label + (1 - alpha) * np.exp(label)) * label / 6
    defense = ConvexConcaveLoss(alpha=alpha, beta=beta)
    gradient, found = grad_and_value(lambda z: defense.loss(step(z, y)))(logits)
    assert abs(float(found) - expected) < 1e-12
    assert np.allclose(gradient.numpy(), beta * slope[:, None] * (hot - p), atol=1e-12)


@pytest.mark.parametrize("options", [{"alpha": -0.1}, {"alpha": 1.1}, {"beta": 0}, {"beta": "inf"}])
def test_a_convex_concave_loss_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConvexConcaveLoss.model_validate(options)


def test_the_convex_concave_loss_keeps_the_contract() -> None:
    check_plugin(ConvexConcaveLoss)


def drawn(defense: Mixup, key: int, count: int) -> tuple[float, Tensor]:
    """The weight and the partners, read off a mixed batch of unit vectors."""
    mixed = defense.inputs(torch.eye(count, dtype=torch.float64), torch.tensor(key))
    assert torch.allclose(mixed.sum(1), torch.ones(count, dtype=torch.float64))
    own = mixed.diagonal()
    alone = own > 1 - 1e-9
    partner = torch.where(alone, torch.arange(count), (mixed - own.diag()).argmax(1))
    (weight,) = set(own[~alone].tolist())
    return weight, partner


@pytest.mark.parametrize("key", [1, 2, 12345])
def test_mixup_mixes_labels_as_it_mixed_inputs(key: int) -> None:
    logits, y = batch()
    weight, partner = drawn(Mixup(), key, len(y))
    assert partner.sort().values.tolist() == list(range(len(y)))
    cost = -log_softmax(logits.numpy(), axis=1)
    own, other = cost[np.arange(6), y.numpy()], cost[np.arange(6), y[partner].numpy()]
    expected = weight * own.mean() + (1 - weight) * other.mean()
    assert abs(float(Mixup().loss(step(logits, y, key))) - expected) < 1e-9


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_draws_its_weights_from_the_beta_distribution(alpha: float) -> None:
    keys = fold(torch.tensor(5), torch.arange(4000))
    defense = Mixup(alpha=alpha)
    x = torch.eye(8, dtype=torch.float64)
    mixed = vmap(lambda key: defense.inputs(x, key))(keys)
    own = mixed.diagonal(dim1=1, dim2=2)
    weights = torch.where(own > 1 - 1e-12, -1.0, own).max(1).values  # a row may be its own partner
    assert kstest(weights[weights >= 0].numpy(), beta(alpha, alpha).cdf).pvalue > 0.01
    moved = (own < 1 - 1e-12).double().mean()
    assert abs(float(moved) - 7 / 8) < 0.01  # a permutation leaves one row in place on average


def test_a_mixed_batch_keeps_the_shape_of_images() -> None:
    x = torch.rand(5, 1, 8, 8)
    mixed = Mixup().inputs(x, torch.tensor(3))
    assert mixed.shape == x.shape
    assert mixed.dtype == x.dtype
    assert torch.allclose(mixed.mean(0), x.mean(0), atol=1e-6)  # a permutation keeps the mean


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"stop_after": 15}),
        ({"share": 0.1}, {"stop_after": 3}),
        ({"share": 0.01}, {"stop_after": 1}),
        ({"epochs": 12}, {"stop_after": 12}),
        ({"epochs": 99}, {"stop_after": 30}),
        ({"patience": 4}, {"patience": 4}),
    ],
)
def test_early_stopping_ends_an_unchanged_schedule(
    options: dict[str, Any], expected: dict[str, int]
) -> None:
    training = Training(epochs=30, lr=0.3, schedule="cosine")
    found = EarlyStopping(**options).schedule(training)
    assert found == Training.model_validate(training.model_dump() | expected)


def test_early_stopping_does_not_lengthen_a_training() -> None:
    training = Training(epochs=30, stop_after=5)
    assert EarlyStopping(epochs=12).schedule(training).stop_after == 5


def test_early_stopping_follows_one_rule() -> None:
    with pytest.raises(ValidationError, match="share and epochs are two ways to stop: give one"):
        EarlyStopping(share=0.5, epochs=3)


def test_early_stopping_is_the_first_part_of_the_whole_training(
    make_cohort: Callable[..., Cohort],
) -> None:
    cohort = make_cohort(defense=EarlyStopping(share=0.5), epochs=4, schedule="cosine")
    cohort.fit()
    whole = make_cohort(epochs=4, schedule="cosine")
    whole.fit()
    whole.rewind(2)
    for stopped, early in zip(cohort.states(), whole.states(), strict=True):
        assert torch.equal(stopped.flat, early.flat)


@pytest.mark.parametrize("patience", [1, 2])
def test_early_stopping_waits_so_long_for_a_better_validation(
    make_cohort: Callable[..., Cohort], patience: int
) -> None:
    """Validation after every epoch of the whole training says where each model has to end."""
    options: dict[str, Any] = {"member": [40, 33, 20], "epochs": 8, "lr": 0.3}
    cohort = make_cohort(defense=EarlyStopping(patience=patience), **options)
    cohort.fit()
    whole = make_cohort(**options)
    whole.fit()
    weights, right = [], []
    for epoch in range(1, 9):
        whole.rewind(epoch)
        weights.append(whole.states())
        met = whole.logits().argmax(-1) == whole.labels
        right.append([int(m[r].sum()) for m, r in zip(met, whole.rows("validation"), strict=True)])
    ends = []
    for m in range(3):
        best, waited, end = -1, 0, 7
        for epoch in range(8):
            better = right[epoch][m] > best
            best, waited = max(best, right[epoch][m]), 0 if better else waited + 1
            if waited == patience:
                end = epoch
                break
        distances = [float((cohort.states()[m].flat - w[m].flat).abs().max()) for w in weights]
        assert [epoch for epoch, distance in enumerate(distances) if distance < 1e-10] == [end]
        ends.append(end)
    assert min(ends) < 7


@pytest.mark.parametrize("cls", [LabelSmoothing, ConfidencePenalty, EarlyStopping, Mixup])
def test_regularizers_keep_the_contract(cls: type[Defense]) -> None:
    check_plugin(cls)
