"""Functions of one model turned into functions of K stacked models, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map_only

from privaudit.cohort.game import Game
from privaudit.cohort.network import Buffers, Network
from privaudit.errors import PluginError

Result = TypeVar("Result")
Parts = list[Tensor]  # of K models' weights, or of their gradients: (K, *shape) each


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


def gradients(
    game: Game, count: int
) -> Callable[[Tensor, Buffers, Buffers, Tensor, Buffers], tuple[Parts, Buffers, Tensor, Tensor]]:
    """Gradients by parameter, buffers, losses (K,) and right answers (K,) of K models' step.

    No model's loss touches another's weights, so the gradient of the sum is each one's own: one
    plain backward pass serves all, and costs less than a stacked derivative. Each parameter is
    a leaf of its own, because the gradient of flat weights would be put together at every step.
    """
    if game.defense.per_example:
        return _example_gradients(game, count)
    objective = over_models(game.objective, count)

    def all_models(
        flat: Tensor, buffers: Buffers, batch: Buffers, second: Tensor, second_buffers: Buffers
    ) -> tuple[Parts, Buffers, Tensor, Tensor]:
        weights = _leaves(game.network, flat)
        loss, after, right = objective(weights, buffers, batch, second, second_buffers)
        return _derivatives(loss, weights), _detached(after), loss.detach(), right

    return all_models


def companion_gradients(
    game: Game, count: int
) -> Callable[[Tensor, Buffers, Buffers, Tensor, Buffers], tuple[Parts, Buffers]]:
    """Gradients by parameter of K companions' own losses, and their buffers."""
    objective = over_models(game.companion_objective, count)

    def all_models(
        flat: Tensor, buffers: Buffers, batch: Buffers, second: Tensor, second_buffers: Buffers
    ) -> tuple[Parts, Buffers]:
        assert game.companion is not None
        weights = _leaves(game.companion, second)
        loss, after = objective(flat, buffers, batch, weights, second_buffers)
        return _derivatives(loss, weights), _detached(after)

    return all_models


def _example_gradients(
    game: Game, count: int
) -> Callable[[Tensor, Buffers, Buffers, Tensor, Buffers], tuple[Parts, Buffers, Tensor, Tensor]]:
    stacked = over_models(game.example_gradients, count)

    def all_models(*inputs: object) -> tuple[Parts, Buffers, Tensor, Tensor]:
        gradient, after, loss, right = stacked(*inputs)
        return list(game.network.views(gradient).values()), after, loss, right

    return all_models


def _leaves(network: Network, flat: Tensor) -> dict[str, Tensor]:
    return {n: w.detach().requires_grad_() for n, w in network.views(flat).items()}


def _derivatives(loss: Tensor, weights: Mapping[str, Tensor]) -> Parts:
    leaves = list(weights.values())
    if not loss.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(torch.autograd.grad(loss.sum(), leaves, allow_unused=True, materialize_grads=True))


def _detached(buffers: Buffers) -> Buffers:
    return {n: b.detach() for n, b in buffers.items()}
