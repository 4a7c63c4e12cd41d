"""RelaxLoss: the branches of the published algorithm, each by a formula of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, vmap

from privaudit import Step
from privaudit.testing import check_plugin
from privaudit_plugins.defenses.relaxloss import RelaxLoss

Array = NDArray[np.float64]
B, C = 5, 4


def step(logits: Tensor, y: Tensor, epoch: int = 0) -> Step:
    return Step(logits=logits, y=y, epoch=torch.tensor(epoch), key=torch.tensor(1))


def batch() -> tuple[Tensor, Tensor]:
    """Some of these are answered rightly, some are not."""
    logits = 2 * torch.randn(B, C, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    y = logits.argmax(-1)
    y[[1, 3]] = (y[[1, 3]] + torch.tensor([1, 2])) % C
    return logits, y


def probabilities(logits: Tensor) -> Array:
    e = np.exp(logits.numpy())
    p: Array = e / e.sum(1, keepdims=True)
    return p


def both(defense: RelaxLoss, epoch: int) -> tuple[float, Array]:
    """The loss and its gradient."""
    logits, y = batch()
    gradient = grad(lambda z: defense.loss(step(z, y, epoch)))(logits)
    found: Array = gradient.numpy()
    return float(defense.loss(step(logits, y, epoch))), found


def plain() -> tuple[float, Array, Array]:
    """Cross-entropy, its gradient, and the one-hot labels."""
    logits, y = batch()
    p, hot = probabilities(logits), np.eye(C)[y.numpy()]
    return float(-np.log((p * hot).sum(1)).mean()), (p - hot) / B, hot


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize(("factor", "sign"), [(0.5, 1), (2.0, -1)])
def test_even_epochs_descend_above_the_level_and_ascend_below(
    epoch: int, factor: float, sign: int
) -> None:
    mean, gradient, _ = plain()
    loss, found = both(RelaxLoss(alpha=factor * mean), epoch)
    assert abs(loss - abs(mean - factor * mean)) < 1e-12
    assert np.allclose(found, sign * gradient, atol=1e-12)


def test_odd_epochs_descend_above_the_level() -> None:
    mean, gradient, _ = plain()
    loss, found = both(RelaxLoss(alpha=0.5 * mean), 1)
    assert abs(loss - mean) < 1e-12
    assert np.allclose(found, gradient, atol=1e-12)


def flattened(upper: float) -> tuple[Array, Array, Array]:
    """CE(p, t) of each example, its gradient by the logits, t's share in that included, and t."""
    logits, y = batch()
    p, hot = probabilities(logits), np.eye(C)[y.numpy()]
    label = (p * hot).sum(1, keepdims=True)
    own = np.minimum(label, upper)
    t = np.where(hot == 1, own, (1 - own) / (C - 1))
    # t moves with p_y, and p_y with the logits: dp_y/dz = p_y (e_y - p), while it is below `upper`.
    rest = ((1 - hot) * np.log(p)).sum(1, keepdims=True) / (C - 1)
    by_label = -(np.log(label) - rest) * (label < upper)
    gradient = (p - t) + by_label * label * (hot - p)
    return -(t * np.log(p)).sum(1), gradient, own[:, 0]


@pytest.mark.parametrize("upper", [1.0, 0.001])
def test_odd_epochs_flatten_the_posterior_of_images_below_the_level(upper: float) -> None:
    mean, _, hot = plain()
    logits, y = batch()
    p = probabilities(logits)
    soft, gradient, own = flattened(upper)
    wrong = (p.argmax(1) != y.numpy()).astype(float)
    each = wrong * soft + np.log((p * hot).sum(1))
    loss, found = both(RelaxLoss(alpha=2 * mean, upper=upper), 1)
    assert abs(loss - each.mean()) < 1e-12
    assert np.allclose(found, (wrong[:, None] * gradient - (p - hot)) / B, atol=1e-12)
    assert upper == 1 or (own == upper)[wrong == 1].any()


@pytest.mark.parametrize("upper", [1.0, 0.3, 0.001])
def test_tables_are_flattened_by_the_soft_labels_alone(upper: float) -> None:
    mean, _, _ = plain()
    soft, gradient, _ = flattened(upper)
    loss, found = both(RelaxLoss(alpha=2 * mean, upper=upper, flattening="table"), 1)
    assert abs(loss - soft.mean()) < 1e-12
    assert np.allclose(found, gradient / B, atol=1e-12)


def test_the_rule_for_tables_is_for_flattening_only() -> None:
    mean, _, _ = plain()
    for alpha, epoch in ((2 * mean, 0), (0.5 * mean, 0), (0.5 * mean, 1)):
        one, other = RelaxLoss(alpha=alpha), RelaxLoss(alpha=alpha, flattening="table")
        assert both(one, epoch)[0] == both(other, epoch)[0]


def test_models_of_one_cohort_may_be_in_different_branches() -> None:
    logits, y = batch()
    stacked = torch.stack([logits, logits, 0.1 * logits, 0.1 * logits])
    epochs = torch.tensor([0, 1, 0, 1])
    defense = RelaxLoss(alpha=1.35)

    def loss(z: Tensor, epoch: Tensor) -> Tensor:
        return defense.loss(Step(logits=z, y=y, epoch=epoch, key=torch.tensor(1)))

    together = vmap(loss)(stacked, epochs)
    alone = [loss(z, e) for z, e in zip(stacked, epochs, strict=True)]
    assert torch.allclose(together, torch.stack(alone), atol=1e-12)
    assert len(set(together.tolist())) == 4


def test_relaxloss_keeps_the_contract() -> None:
    check_plugin(RelaxLoss)
