"""Gradients of K models' steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from privaudit.networks.network import Buffers
from privaudit.networks.state import GradientFunction, State, StepResult
from privaudit.networks.vmapped import over_models
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import Objective
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.chain_step import batched_gradients
from privaudit.training import Training


def gradients(
    objective: Objective, count: int, data: DeviceDataset, options: Training, optimizer: Optimizer
) -> GradientFunction:
    """What gives K models' gradients.

    No model's loss touches another's weights, so the gradient of the sum is each one's own: one
    plain backward pass serves all, and costs less than a stacked derivative. Each parameter is
    a leaf of its own, because the gradient of flat weights would be put together at every step.
    """
    if objective.defense.per_example:
        return _example_gradients(objective, count)
    batched = batched_gradients(objective, count, data, options, optimizer)
    if batched:
        return batched
    mixed = options.precision == "bf16"
    loss_of = over_models(objective.objective, count)
    if options.compile:
        loss_of = torch.compile(loss_of, dynamic=False)

    def all_models(named: Mapping[str, Tensor], now: State, batch: Buffers) -> StepResult:
        leaves = _leaves(named)
        with torch.autocast(now.flat.device.type, torch.bfloat16, enabled=mixed):
            loss, after, right = loss_of(leaves, now.buffers, batch, now.second, now.second_buffers)
        return StepResult(_derivatives(loss, leaves), _detached(after), loss.detach(), right)

    return all_models


def companion_gradients(
    objective: Objective, count: int
) -> Callable[[Mapping[str, Tensor], State, Buffers], tuple[list[Tensor | None], Buffers]]:
    """What gives gradients by parameter of K companions' own losses, and their buffers."""
    loss_of = over_models(objective.companion_objective, count)

    def all_models(
        named: Mapping[str, Tensor], now: State, batch: Buffers
    ) -> tuple[list[Tensor | None], Buffers]:
        leaves = _leaves(named)
        loss, after = loss_of(now.flat, now.buffers, batch, leaves, now.second_buffers)
        return _derivatives(loss, leaves), _detached(after)

    return all_models


def _example_gradients(objective: Objective, count: int) -> GradientFunction:
    stacked = over_models(objective.example_gradients, count)

    def all_models(named: Mapping[str, Tensor], now: State, batch: Buffers) -> StepResult:
        gradient, after, loss, right = stacked(
            now.flat, now.buffers, batch, now.second, now.second_buffers
        )
        return StepResult(list(objective.network.views(gradient).values()), after, loss, right)

    return all_models


def _leaves(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().requires_grad_() for name, weight in named.items()}


def _derivatives(loss: Tensor, leaves: Mapping[str, Tensor]) -> list[Tensor | None]:
    if not loss.requires_grad:
        return [None for _ in leaves]
    return list(torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True))


def _detached(buffers: Buffers) -> Buffers:
    return {n: b.detach() for n, b in buffers.items()}
