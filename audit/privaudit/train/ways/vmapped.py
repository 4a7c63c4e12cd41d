"""The way of `torch.vmap`: one model's step, stacked. It serves every network without surprises."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from privaudit.networks.state import Buffers, State
from privaudit.networks.vmapped import over_models
from privaudit.train.batch import (
    Batch,
    CompanionBatch,
    CompanionGradientFunction,
    GradientFunction,
    StepResult,
)
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import Objective
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.way import Steps, stacked
from privaudit.training import Training


def vmapped_steps(
    objective: Objective,
    count: int,
    data: DeviceDataset,
    options: Training,
    optimizer: Optimizer,
) -> Steps:
    """The steps of `count` models, stacked."""
    per_example = objective.defense.per_example
    return Steps(
        _example_gradients(objective, count) if per_example else _sums(objective, count, options),
        companion_gradients(objective, count),
        over_models(objective.project, count),
        over_models(objective.remember, count),
        stacked(objective.network),
    )


def _sums(objective: Objective, count: int, options: Training) -> GradientFunction:
    """What gives K models' gradients.

    No model's loss touches another's weights, so the gradient of the sum is each one's own: one
    plain backward pass serves all, and costs less than a stacked derivative. Each parameter is
    a leaf of its own, because the gradient of flat weights would be put together at every step.
    """
    of_one = objective.in_place().loss
    loss_of = over_models(of_one, count)
    if options.compile:
        of_one = torch.compile(of_one, dynamic=False)
        loss_of = torch.compile(loss_of, dynamic=False)
    alone = False

    def one_model(named: Mapping[str, Tensor], now: State, batch: Batch) -> StepResult:
        """Without a leading axis of one, which every weight's gradient would have to be put in."""
        leaves = _leaves({name: weight[0] for name, weight in named.items()})
        state, only = now.one(0), Batch._make(None if part is None else part[0] for part in batch)
        loss, after, correct = of_one(leaves, state.buffers, only, *state.rest)
        gradients = [None if g is None else g[None] for g in _derivatives(loss, leaves)]
        buffers = {name: buffer[None] for name, buffer in _detached(after).items()}
        return StepResult(gradients, buffers, loss.detach()[None], correct[None])

    def all_models(named: Mapping[str, Tensor], now: State, batch: Batch) -> StepResult:
        nonlocal alone
        if alone:
            return one_model(named, now, batch)
        alone = count == 1  # from now on; the first time it is stacked, see `over_models`
        leaves = _leaves(named)
        loss, after, correct = loss_of(leaves, now.buffers, batch, *now.rest)
        return StepResult(_derivatives(loss, leaves), _detached(after), loss.detach(), correct)

    return all_models


def companion_gradients(objective: Objective, count: int) -> CompanionGradientFunction:
    """What gives gradients by parameter of K companions' own losses, and their buffers."""
    loss_of = over_models(objective.companion_loss, count)

    def all_models(
        named: Mapping[str, Tensor], now: State, batch: CompanionBatch
    ) -> tuple[list[Tensor | None], Buffers]:
        leaves = _leaves(named)
        loss, after = loss_of(batch, leaves, now.companion_buffers)
        return _derivatives(loss, leaves), _detached(after)

    return all_models


def _example_gradients(objective: Objective, count: int) -> GradientFunction:
    of_each = over_models(objective.example_gradients, count)

    def all_models(named: Mapping[str, Tensor], now: State, batch: Batch) -> StepResult:
        gradient, after, loss, correct = of_each(now.flat, now.buffers, batch, *now.rest)
        return StepResult(list(objective.network.views(gradient).values()), after, loss, correct)

    return all_models


def _leaves(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().requires_grad_() for name, weight in named.items()}


def _derivatives(loss: Tensor, leaves: Mapping[str, Tensor]) -> list[Tensor | None]:
    if not loss.requires_grad:
        return [None for _ in leaves]
    return list(torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True))


def _detached(buffers: Buffers) -> Buffers:
    return {n: b.detach() for n, b in buffers.items()}
