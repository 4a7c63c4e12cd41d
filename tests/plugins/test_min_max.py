"""Min-max: what each player minimises, and which weights it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import (
    Examples,
    Model,
    PluginError,
    Step,
)
from privaudit.cohort import Cohort
from privaudit.keys import derive
from privaudit.testing import check_plugin
from privaudit.train.dataset import epoch_order
from privaudit_plugins.defenses.min_max import InferenceNetwork, MinMax

Make = Callable[..., Cohort]


def made_up(companion: Callable[..., Tensor]) -> Step:
    g = torch.Generator().manual_seed(0)
    return Step(
        logits=torch.randn(4, 3, generator=g, dtype=torch.float64),
        y=torch.tensor([0, 1, 2, 0]),
        epoch=torch.tensor(0),
        key=torch.tensor(0),
        reference_logits=torch.randn(5, 3, generator=g, dtype=torch.float64),
        reference_y=torch.tensor([2, 1, 0, 1, 1]),
        companion=companion,
    )


def guess(logits: Tensor, y: Tensor) -> Tensor:
    """An attacker that looks at the true class's logit."""
    return 2 * logits[torch.arange(len(y)), y] - 0.3


def log_share(odds: Tensor) -> float:
    """Mean log of the probability."""
    return float(np.log(1 / (1 + np.exp(-odds.numpy()))).mean())


def test_both_players_minimise_what_is_published() -> None:
    step, defense = made_up(guess), MinMax(weight=3.0)
    assert step.reference_logits is not None
    assert step.reference_y is not None
    inside = log_share(guess(step.logits, step.y))
    outside = log_share(-guess(step.reference_logits, step.reference_y))
    assert abs(float(defense.companion_loss(step)) + (inside + outside) / 2) < 1e-12
    p = np.exp(step.logits.numpy()) / np.exp(step.logits.numpy()).sum(1, keepdims=True)
    cost = -np.log(p[np.arange(4), step.y.numpy()]).mean()
    assert abs(float(defense.loss(step)) - (cost + 3 * inside)) < 1e-12


def test_the_attacker_has_the_published_layers() -> None:
    sizes = [tuple(p.shape) for p in MinMax().companion(10).parameters() if p.ndim == 2]
    answer = [(1024, 10), (512, 1024), (64, 512)]
    label = [(512, 10), (64, 512)]
    joint = [(256, 128), (64, 256), (1, 64)]
    assert sizes == answer + label + joint
    half = [tuple(p.shape) for p in MinMax(width=0.5).companion(10).parameters() if p.ndim == 2]
    assert half[:3] == [(512, 10), (256, 512), (32, 256)]


def test_the_attacker_sees_the_posterior_and_the_label() -> None:
    torch.manual_seed(0)
    network = InferenceNetwork(3, 0.1).double()
    logits, y = torch.randn(2, 3, dtype=torch.float64), torch.tensor([0, 1])
    odds = network(logits, y)
    assert odds.shape == (2,)
    assert torch.allclose(network(logits + 7, y), odds, atol=1e-12)  # the same posterior
    assert (network(logits, 1 - y) - odds).abs().min() > 1e-6
    assert (network(2 * logits, y) - odds).abs().min() > 1e-6


def attackers_steps(
    module: nn.Module, second: nn.Module, inside: list[Tensor], away: list[Tensor], steps: int
) -> None:
    """Adam by hand on the mean binary cross-entropy of members and reference examples."""
    weights = list(second.parameters())
    first, square = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for t in range(1, steps + 1):
        members = second(module(inside[0]).detach(), inside[1]).sigmoid()
        others = second(module(away[0]).detach(), away[1]).sigmoid()
        loss = -members.log().mean() / 2 - (1 - others).log().mean() / 2
        gradients = torch.autograd.grad(loss, weights)
        for w, g, m, v in zip(weights, gradients, first, square, strict=True):
            m.lerp_(g, 0.1)
            v.mul_(0.999).add_(0.001 * g**2)
            with torch.no_grad():
                w.sub_(0.01 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))


def test_the_attacker_moves_first_and_each_player_moves_its_own_weights(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    defense = MinMax(weight=2.0, steps=3, lr=0.01, width=0.02)
    cohort = make_cohort([16, 16], defense=defense, reference=16, epochs=1, lr=0.5, momentum=0.0)
    starts, rows = cohort.states(), cohort._rows
    cohort.fit()
    x = (digits.x.double() - digits.mean) / digits.std
    for start, end, own, seed in zip(starts, cohort.states(), rows, cohort.seeds, strict=True):
        module = perceptron().build((1, 8, 8), 10).double()
        second = InferenceNetwork(10, 0.02).double()
        nn.utils.vector_to_parameters(start.flat.clone(), module.parameters())
        nn.utils.vector_to_parameters(start.companion.clone(), second.parameters())
        fit = derive(seed, "fit", 0)
        member = epoch_order(own.member, derive(fit, "member"), 0, 16)[0]
        other = epoch_order(own.reference, derive(fit, "reference"), 0, 16)[0]
        inside, away = [x[member], digits.y[member]], [x[other], digits.y[other]]
        attackers_steps(module, second, inside, away, 3)
        logits = module(inside[0])
        gain = second(logits, inside[1]).sigmoid().log().mean()
        loss = cross_entropy(logits, inside[1]) + 2 * gain
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        step = torch.cat([g.flatten() for g in gradients])
        trained = nn.utils.parameters_to_vector(second.parameters())
        assert (end.companion - trained).abs().max() < 1e-9
        assert (end.flat - (start.flat - 0.5 * step)).abs().max() < 1e-9
        assert (end.companion - start.companion).abs().max() > 1e-3


def test_min_max_without_reference_examples_is_refused(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"'min_max'.*split\.reference"):
        make_cohort(defense=MinMax(width=0.02), reference=0).fit()


@pytest.mark.parametrize("options", [{}, {"width": 0.05, "steps": 2}])
def test_min_max_keeps_the_contract(options: dict[str, Any]) -> None:
    check_plugin(MinMax, **options)
