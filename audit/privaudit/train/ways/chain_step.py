"""The way of chains: the step of K chains of plain layers by batched products.

`vmap` serves every network, but it looks each operation's rule up anew at every step and takes
the slower order of products and the slower layout of images where there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from privaudit.api.plugin import Step, overrides
from privaudit.networks.state import Buffers, State
from privaudit.networks.vmapped import over_models
from privaudit.train.batch import Batch, GradientFunction, StepResult
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import DROPOUT, LOSS, Objective
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.chain import Chain, back, chain, entry, forth
from privaudit.train.ways.passing import Pass
from privaudit.train.ways.vmapped import companion_gradients
from privaudit.train.ways.way import Steps, stacked
from privaudit.training import Training


def chain_of(objective: Objective, data: DeviceDataset, options: Training) -> Chain | None:
    """The network's layers, where it, the hooks and the options allow batched products.

    The network must be a chain of layers that `layers.LAYERS` knows; a defense may have a loss of
    its own, but no second player, no reference examples and no say in the inputs.
    """
    defense = objective.defense
    if objective.companion or objective.reference or defense.per_example or objective.inputs:
        return None
    if options.compile or options.precision == "bf16":  # which our own products do not know
        return None
    if not data.examples.x.is_floating_point() and data.examples.x.dtype != torch.uint8:
        return None  # tokens go into an embedding
    return chain(objective.network.module, data.examples.shape)


def sparse_layer(objective: Objective, data: DeviceDataset, options: Training) -> str | None:
    """The weights that sparse examples go into; None where a step has none such."""
    layers = chain_of(objective, data, options)
    first = entry(layers) if layers else None
    if first is None or (options.augment and data.augments) or data.sparse is None:
        return None
    return f"{first}.weight"


def chain_steps(
    objective: Objective,
    count: int,
    data: DeviceDataset,
    options: Training,
    optimizer: Optimizer,
) -> Steps:
    """The steps of `count` chains; `chain_of` must have found one."""
    layers = chain_of(objective, data, options)
    assert layers is not None
    return Steps(
        _gradients(objective, count, layers, optimizer),
        companion_gradients(objective, count),
        over_models(objective.project, count),
        over_models(objective.remember, count),
        stacked(objective.network),
    )


def _gradients(
    objective: Objective, count: int, layers: Chain, optimizer: Optimizer
) -> GradientFunction:
    loss_of = _loss(objective, count)
    penalty_of = _penalty(objective, count)

    @torch.no_grad()
    def all_models(named: Mapping[str, Tensor], now: State, batch: Batch) -> StepResult:
        now_passing = Pass(named, dict(now.buffers), batch.keys[:, DROPOUT], optimizer)
        logits = forth(layers, now_passing, batch.x)
        loss, gradient = loss_of(logits, batch)
        correct = (logits.mT.max(1).indices == batch.y).sum(1)  # quicker than argmax
        gradients = back(now_passing, gradient)
        if penalty_of:
            penalty, more = penalty_of(named, now.memory)
            loss = loss + penalty
            for name, part in more.items():
                gradients[name] = gradients[name] + part if name in gradients else part
        by_name = [gradients.get(name) for name in named]
        return StepResult(by_name, now_passing.buffers, loss, correct)

    return all_models


def _loss(objective: Objective, count: int) -> Callable[[Tensor, Batch], tuple[Tensor, Tensor]]:
    """Losses (K,), and the gradient of their sum, by logits (K, B, C)."""
    if not overrides(objective.defense, "loss"):
        return lambda logits, batch: cross_entropy(logits, batch.y)

    def one(logits: Tensor, y: Tensor, epoch: Tensor, key: Tensor) -> Tensor:
        return objective.defense.loss(Step(logits, y, epoch, key))

    of_each = over_models(one, count)

    @torch.enable_grad()
    def own_loss(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        leaf = logits.detach().requires_grad_()
        loss = of_each(leaf, batch.y, batch.epoch, batch.keys[:, LOSS])
        return loss.detach(), _derivatives(loss, {"": leaf}).get("", torch.zeros_like(logits))

    return own_loss


def cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (K,) of logits (K, B, C) and labels (K, B), and its gradient."""
    logs = logits.mT.log_softmax(1)  # over rows: many times as quick where classes are few
    loss = -logs.gather(1, y[:, None]).mean((1, 2))
    scale = 1 / y.shape[1]
    gradient = logs.exp_().mul_(scale)
    index = y[:, None]
    gradient.scatter_add_(1, index, gradient.new_full((1, 1, 1), -scale).expand(index.shape))
    return loss, gradient.mT


def _penalty(
    objective: Objective, count: int
) -> Callable[[Mapping[str, Tensor], Buffers], tuple[Tensor, dict[str, Tensor]]] | None:
    """Penalties (K,), and the gradient of their sum, by weights; None without one."""
    if not objective.penalises:
        return None

    of_each = over_models(objective.penalty, count)

    @torch.enable_grad()
    def of_weights(
        weights: Mapping[str, Tensor], memory: Buffers
    ) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        penalty = of_each(leaves, memory)
        return penalty.detach(), _derivatives(penalty, leaves)

    return of_weights


def _derivatives(values: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a sum by those leaves that have one."""
    if not values.requires_grad:
        return {}
    parts = torch.autograd.grad(values.sum(), list(leaves.values()), allow_unused=True)
    return {name: p for name, p in zip(leaves, parts, strict=True) if p is not None}
