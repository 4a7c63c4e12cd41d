"""Every optimiser of the table against PyTorch's own."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from privaudit import Training, load_recipe
from privaudit.api.host import load_plugins
from privaudit.errors import RecipeError
from privaudit.optimizers import OPTIMIZERS
from privaudit.recipe import recipe_schema
from privaudit.train.optimizer import Optimizer

K, STEPS = 3, 6
SHAPES = {"weight": (4, 3), "bias": (5,)}

TORCH: dict[str, Any] = {
    "sgd": lambda parameters, lr, momentum, decay: torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=decay
    ),
    "adam": lambda parameters, lr, momentum, decay: torch.optim.Adam(
        parameters, lr=lr, weight_decay=decay
    ),
    "adamw": lambda parameters, lr, momentum, decay: torch.optim.AdamW(
        parameters, lr=lr, weight_decay=decay
    ),
}


def start() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {n: torch.randn(K, *s, generator=g, dtype=torch.float64) for n, s in SHAPES.items()}


def gradient(step: int, name: str) -> Tensor:
    g = torch.Generator().manual_seed(100 * step + len(name))
    return torch.randn(K, *SHAPES[name], generator=g, dtype=torch.float64)


def optimizer_of(kind: str, weights: dict[str, Tensor], decay: float) -> Optimizer:
    options = Training(optimizer=kind, momentum=0.8, weight_decay=decay)
    return Optimizer(weights, OPTIMIZERS[kind](options))


def test_the_reference_covers_the_table() -> None:
    assert TORCH.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_model_moves_as_it_would_alone_under_pytorch(kind: str, decay: float) -> None:
    """Model 1 stops after half of the steps, and keeps its weights to the bit."""
    weights = start()
    optimizer = optimizer_of(kind, weights, decay)
    for step in range(STEPS):
        active = None if step < STEPS // 2 else torch.tensor([True, False, True])
        optimizer.begin(active)
        gradients = [gradient(step, name) for name in weights]
        optimizer.step(list(weights.values()), gradients, 0.1, None, active)
    for model in range(K):
        parameters = {n: w[model].clone().requires_grad_() for n, w in start().items()}
        reference = TORCH[kind](parameters.values(), 0.1, 0.8, decay)
        for step in range(STEPS if model != 1 else STEPS // 2):
            for name, parameter in parameters.items():
                parameter.grad = gradient(step, name)[model]
            reference.step()
        for name, parameter in parameters.items():
            assert torch.allclose(weights[name][model], parameter.detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_weight_that_is_not_free_stays_to_the_bit(kind: str) -> None:
    weights = start()
    free = {n: (torch.arange(w.numel()).view_as(w) % 2).double() for n, w in weights.items()}
    optimizer = optimizer_of(kind, weights, 0.05)
    for step in range(STEPS):
        optimizer.begin(None)
        gradients = [gradient(step, name) for name in weights]
        optimizer.step(list(weights.values()), gradients, 0.1, list(free.values()))
    for name, before in start().items():
        held = free[name] == 0
        assert torch.equal(weights[name][held], before[held])
        assert not (weights[name][~held] == before[~held]).any()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_layer_may_add_its_gradient_itself_where_the_rule_allows_it(kind: str) -> None:
    folded, plain = start(), start()
    by_layer, by_step = optimizer_of(kind, folded, 0.05), optimizer_of(kind, plain, 0.05)
    for step in range(STEPS):
        gradients = {name: gradient(step, name) for name in plain}
        by_step.begin(None)
        by_step.step(list(plain.values()), list(gradients.values()), 0.1)
        by_layer.begin(None)
        momentum = by_layer.take("weight")
        assert (momentum is not None) == (kind == "sgd")
        rest: list[Tensor | None] = list(gradients.values())
        if momentum is not None:
            momentum.mul_(by_layer.keep).add_(gradients["weight"])
            rest[0] = None
        by_layer.step(list(folded.values()), rest, 0.1)
    for name in plain:
        assert torch.allclose(folded[name], plain[name], atol=1e-12, rtol=0)


def test_recipes_know_every_optimiser_by_the_table_alone() -> None:
    schema = recipe_schema(load_plugins())
    training = schema["$defs"]["Training"]["properties"]["optimizer"]
    assert set(training["enum"]) == OPTIMIZERS.keys()
    with pytest.raises(RecipeError, match="must be 'sgd', 'adam' or 'adamw'"):
        load_recipe("digits", ["training.optimizer=adams"])
    assert load_recipe("digits", ["training.optimizer=adamw"]).training.optimizer == "adamw"
    assert get_args(Training.model_fields["optimizer"].annotation) == tuple(OPTIMIZERS)
