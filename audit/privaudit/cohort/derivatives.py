"""Functions of one model turned into functions of K stacked models, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map_only

from privaudit.cohort.game import Game
from privaudit.cohort.network import Buffers
from privaudit.errors import PluginError

Result = TypeVar("Result")
Gradients = Callable[
    [Tensor, Buffers, Buffers, Tensor, Buffers], tuple[Tensor, Buffers, Tensor, Tensor]
]


def over_models(function: Callable[..., Result], count: int) -> Callable[..., Result]:
    """A function of one model's tensors, for `count` models stacked on a leading axis.

    One model is called plainly, because stacking one costs and gains nothing; but its first call
    is stacked, so that what cannot be stacked is refused whatever the count.

    Raises:
        PluginError: on calling, where the function draws from torch's generator.
    """
    stacked = vmap(function, randomness="error")
    tried = False

    def call(*inputs: object) -> Result:
        nonlocal tried
        if tried and count == 1:
            first = [tree_map_only(Tensor, lambda t: t[0], i) for i in inputs]
            result: Result = tree_map_only(Tensor, lambda t: t[None], function(*first))
            return result
        try:
            result = stacked(*inputs)
        except RuntimeError as error:
            if "randomness" not in str(error):
                raise
            raise PluginError(
                "the network, or a hook of the sparsifier or defense, draws random numbers from "
                "torch's shared generator: use nn.Dropout, not its function, and in hooks "
                "privaudit.keys with the step's key"
            ) from error
        tried = True
        return result

    return call


def gradients(game: Game, count: int) -> Gradients:
    """Gradients (K, P), buffers, losses (K,) and right answers (K,) of one step of K models.

    No model's loss touches another's weights, so the gradient of the sum is each one's own:
    one plain backward pass serves all, where stacking the derivative too would cost more.
    """
    if game.defense.per_example:
        return over_models(game.example_gradients, count)
    objective = over_models(game.objective, count)

    def all_models(
        flat: Tensor, buffers: Buffers, batch: Buffers, second: Tensor, second_buffers: Buffers
    ) -> tuple[Tensor, Buffers, Tensor, Tensor]:
        flat = flat.detach().requires_grad_()
        loss, after, right = objective(flat, buffers, batch, second, second_buffers)
        return _derivative(loss, flat), _detached(after), loss.detach(), right

    return all_models


def companion_gradients(
    game: Game, count: int
) -> Callable[[Tensor, Buffers, Buffers, Tensor, Buffers], tuple[Tensor, Buffers]]:
    """Gradients (K, Pc) of K companions' own losses, and their buffers."""
    objective = over_models(game.companion_objective, count)

    def all_models(
        flat: Tensor, buffers: Buffers, batch: Buffers, second: Tensor, second_buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        second = second.detach().requires_grad_()
        loss, after = objective(flat, buffers, batch, second, second_buffers)
        return _derivative(loss, second), _detached(after)

    return all_models


def _derivative(loss: Tensor, weights: Tensor) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros_like(weights)
    (gradient,) = torch.autograd.grad(
        loss.sum(), weights, allow_unused=True, materialize_grads=True
    )
    return gradient


def _detached(buffers: Buffers) -> Buffers:
    return {n: b.detach() for n, b in buffers.items()}
