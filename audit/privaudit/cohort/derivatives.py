"""Gradients of K models' steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from privaudit.cohort.batched import batched_objective
from privaudit.cohort.game import Game
from privaudit.cohort.network import Buffers, Network
from privaudit.cohort.stacked import over_models
from privaudit.training import Training

Parts = list[Tensor]  # of K models' weights, or of their gradients: (K, *shape) each


def gradients(
    game: Game, count: int, options: Training
) -> Callable[[Tensor, Buffers, Buffers, Tensor, Buffers], tuple[Parts, Buffers, Tensor, Tensor]]:
    """Gradients by parameter, buffers, losses (K,) and right answers (K,) of K models' step.

    No model's loss touches another's weights, so the gradient of the sum is each one's own: one
    plain backward pass serves all, and costs less than a stacked derivative. Each parameter is
    a leaf of its own, because the gradient of flat weights would be put together at every step.
    """
    if game.defense.per_example:
        return _example_gradients(game, count)
    mixed = options.precision == "bf16"  # which our own products do not know
    objective = (None if mixed else batched_objective(game, count)) or over_models(
        game.objective, count
    )
    if options.compile:
        objective = torch.compile(objective, dynamic=False)

    def all_models(
        flat: Tensor, buffers: Buffers, batch: Buffers, second: Tensor, second_buffers: Buffers
    ) -> tuple[Parts, Buffers, Tensor, Tensor]:
        weights = _leaves(game.network, flat)
        with torch.autocast(flat.device.type, torch.bfloat16, enabled=mixed):
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
