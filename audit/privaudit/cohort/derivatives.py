"""Gradients of K models' steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from privaudit.cohort.batched import batched_gradients
from privaudit.cohort.batches import Batches
from privaudit.cohort.game import Game
from privaudit.cohort.network import Buffers
from privaudit.cohort.optimizer import Optimizer
from privaudit.cohort.stacked import over_models
from privaudit.cohort.weighed import Stepped, Stepping, Weighed
from privaudit.training import Training


def gradients(
    game: Game, count: int, data: Batches, options: Training, optimizer: Optimizer
) -> Stepping:
    """What gives K models' gradients.

    No model's loss touches another's weights, so the gradient of the sum is each one's own: one
    plain backward pass serves all, and costs less than a stacked derivative. Each parameter is
    a leaf of its own, because the gradient of flat weights would be put together at every step.
    """
    if game.defense.per_example:
        return _example_gradients(game, count)
    batched = batched_gradients(game, count, data, options, optimizer)
    if batched:
        return batched
    mixed = options.precision == "bf16"
    objective = over_models(game.objective, count)
    if options.compile:
        objective = torch.compile(objective, dynamic=False)

    def all_models(named: Mapping[str, Tensor], now: Weighed, batch: Buffers) -> Stepped:
        leaves = _leaves(named)
        with torch.autocast(now.flat.device.type, torch.bfloat16, enabled=mixed):
            loss, after, right = objective(
                leaves, now.buffers, batch, now.second, now.second_buffers
            )
        return Stepped(_derivatives(loss, leaves), _detached(after), loss.detach(), right)

    return all_models


def companion_gradients(
    game: Game, count: int
) -> Callable[[Mapping[str, Tensor], Weighed, Buffers], tuple[list[Tensor | None], Buffers]]:
    """What gives gradients by parameter of K companions' own losses, and their buffers."""
    objective = over_models(game.companion_objective, count)

    def all_models(
        named: Mapping[str, Tensor], now: Weighed, batch: Buffers
    ) -> tuple[list[Tensor | None], Buffers]:
        leaves = _leaves(named)
        loss, after = objective(now.flat, now.buffers, batch, leaves, now.second_buffers)
        return _derivatives(loss, leaves), _detached(after)

    return all_models


def _example_gradients(game: Game, count: int) -> Stepping:
    stacked = over_models(game.example_gradients, count)

    def all_models(named: Mapping[str, Tensor], now: Weighed, batch: Buffers) -> Stepped:
        gradient, after, loss, right = stacked(
            now.flat, now.buffers, batch, now.second, now.second_buffers
        )
        return Stepped(list(game.network.views(gradient).values()), after, loss, right)

    return all_models


def _leaves(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().requires_grad_() for name, weight in named.items()}


def _derivatives(loss: Tensor, leaves: Mapping[str, Tensor]) -> list[Tensor | None]:
    if not loss.requires_grad:
        return [None for _ in leaves]
    return list(torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True))


def _detached(buffers: Buffers) -> Buffers:
    return {n: b.detach() for n, b in buffers.items()}
