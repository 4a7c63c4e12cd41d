"""HAMP: the softened labels, the loss, and answers that tell an order and no more."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch.distributions import Categorical
from torch.func import grad
from torch.nn.functional import kl_div

from privaudit import Step
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.testing import check_plugin
from privaudit_plugins.defenses.hamp import HAMP, label_share


def label(gamma: float, classes: int, y: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The label of a class."""
    share = label_share(gamma, classes)
    full = np.full(classes, (1 - share) / (classes - 1))
    full[y] = share
    return full


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("gamma", [0.01, 0.5, 0.95, 0.999])
def test_a_label_s_entropy_is_the_share_asked_of_the_uniform_one_s(
    classes: int, gamma: float
) -> None:
    found = label(gamma, classes)
    assert found[0] > 1 / classes
    assert abs(entropy(found) / np.log(classes) - gamma) < 1e-9


def test_half_a_bit_is_the_entropy_of_a_coin_of_eleven_per_cent() -> None:
    assert abs(label_share(0.5, 2) - 0.889972) < 1e-6  # the binary entropy's inverse, tabulated


def random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4, 5) and labels."""
    logits = 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.tensor([0, 3, 3, 1])


def loss_of(defense: HAMP, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return defense.loss(Step(logits=logits, y=y, epoch=torch.tensor(0), key=torch.tensor(0)))


def test_the_loss_is_the_divergence_from_the_labels_less_the_weighted_entropy() -> None:
    logits, y = random_batch()
    p = softmax(logits.numpy(), axis=1)
    divergence = [entropy(label(0.7, 5, int(c)), row) for c, row in zip(y, p, strict=True)]
    expected = np.mean(divergence) - 5 * 0.2 * np.mean(entropy(p, axis=1))
    assert abs(float(loss_of(HAMP(gamma=0.7, weight=0.2), logits, y)) - expected) < 1e-9


def test_the_published_weight_belongs_to_the_divergence_as_the_authors_take_it() -> None:
    """Their `kl_div` has PyTorch's default reduction, a mean over examples and classes."""
    logits, y = random_batch()
    labels = torch.from_numpy(np.stack([label(0.7, 5, int(c)) for c in y]))

    def published(z: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings(action="ignore"):  # of that default
            divergence = kl_div(z.log_softmax(1), labels)
        surprise = Categorical(probs=z.softmax(1)).entropy()  # type: ignore[no-untyped-call]
        return divergence - 0.2 * cast(torch.Tensor, surprise).mean()

    mine = grad(lambda z: loss_of(HAMP(gamma=0.7, weight=0.2), z, y))(logits)
    varied = logits.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(published(varied), varied)
    assert torch.allclose(mine, 5 * theirs, atol=1e-9)


def test_answers_keep_the_order_of_the_classes_and_nothing_else() -> None:
    logits = 9 * torch.randn(50, 10, dtype=torch.float64)
    seen = HAMP(gamma=0.8).respond(logits, None)
    assert torch.equal(seen.argsort(-1), logits.argsort(-1))
    ranked = seen.sort(-1).values
    assert torch.equal(ranked, ranked[:1].expand_as(ranked))
    assert bool((ranked.diff() > 0).all())
    shares = entropy(softmax(seen.numpy(), axis=1), axis=1) / np.log(10)
    assert np.allclose(shares, 0.8, atol=1e-9)


def test_training_only_leaves_answers_alone() -> None:
    logits = torch.randn(5, 3)
    assert torch.equal(HAMP(modify=False).respond(logits, None), logits)


def test_an_attacker_gets_the_modified_answers(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(defense=HAMP(), epochs=1)
    cohort.fit()
    seen = answers(cohort, torch.ones(2, 300, dtype=torch.bool)).logits[:, 0]
    assert torch.equal(seen.argmax(-1), cohort.logits().argmax(-1))
    assert len(set(seen.max(-1).values.flatten().tolist())) == 1


def test_hamp_keeps_the_contract() -> None:
    check_plugin(HAMP)
