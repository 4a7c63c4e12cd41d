"""The step of K chains of plain layers, by batched products instead of `vmap`.

`vmap` serves every network, but it looks each operation's rule up anew at every step and takes
the slower order of products and the slower layout of images where there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from privaudit.api.plugin import Step, Weights, overrides
from privaudit.keys import fold
from privaudit.networks.network import Buffers
from privaudit.networks.state import GradientFunction, State, StepResult
from privaudit.networks.vmapped import over_models
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import LOSS, Objective
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.chain import Layers, back, chain, entry, forth
from privaudit.train.ways.layers import Pass
from privaudit.training import Training


def batched_layers(objective: Objective, data: DeviceDataset, options: Training) -> Layers | None:
    """The network's layers, where it, the hooks and the options allow batched products.

    The network must be a chain of layers that `chain` knows; a defense may have a loss of its
    own, but no second player, no reference examples and no say in the inputs.
    """
    defense = objective.defense
    if objective.companion or defense.reference or defense.per_example or objective.inputs:
        return None
    if options.compile or options.precision == "bf16":  # which our own products do not know
        return None
    return chain(objective.network.module, data.examples.shape)


def sparse_layer(objective: Objective, data: DeviceDataset, options: Training) -> str | None:
    """The weights that sparse examples go into; None where a step has none such."""
    layers = batched_layers(objective, data, options)
    first = entry(layers) if layers else None
    if first is None or (options.augment and data.augments) or data.sparse is None:
        return None
    return f"{first}.weight"


def batched_gradients(
    objective: Objective, count: int, data: DeviceDataset, options: Training, optimizer: Optimizer
) -> GradientFunction | None:
    """What `derivatives.gradients` gives; None where batched products are not allowed."""
    layers = batched_layers(objective, data, options)
    if layers is None:
        return None
    loss_of = _loss(objective, count)
    penalty_of = _penalty(objective, count)

    @torch.no_grad()
    def all_models(named: Mapping[str, Tensor], now: State, batch: Buffers) -> StepResult:
        way = Pass(named, dict(now.buffers), batch["key"], optimizer)
        logits = forth(layers, way, batch["x"])
        loss, gradient = loss_of(logits, batch)
        right = (logits.mT.max(1).indices == batch["y"]).sum(1)  # quicker than argmax
        gradients = back(way, gradient)
        if penalty_of:
            penalty, more = penalty_of(named)
            loss = loss + penalty
            for name, part in more.items():
                gradients[name] = gradients[name] + part if name in gradients else part
        return StepResult([gradients.get(name) for name in named], way.buffers, loss, right)

    return all_models


def _loss(objective: Objective, count: int) -> Callable[[Tensor, Buffers], tuple[Tensor, Tensor]]:
    """Losses (K,), and the gradient of their sum, by logits (K, B, C)."""
    if not overrides(objective.defense, "loss"):
        return lambda logits, batch: cross_entropy(logits, batch["y"])

    def one(logits: Tensor, y: Tensor, epoch: Tensor, key: Tensor) -> Tensor:
        return objective.defense.loss(Step(logits, y, epoch, fold(key, LOSS)))

    stacked = over_models(one, count)

    @torch.enable_grad()
    def own(logits: Tensor, batch: Buffers) -> tuple[Tensor, Tensor]:
        leaf = logits.detach().requires_grad_()
        loss = stacked(leaf, batch["y"], batch["epoch"], batch["key"])
        return loss.detach(), _derivatives(loss, {"": leaf}).get("", torch.zeros_like(logits))

    return own


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
) -> Callable[[Mapping[str, Tensor]], tuple[Tensor, dict[str, Tensor]]] | None:
    """Penalties (K,), and the gradient of their sum, by weights; None without one."""
    if not objective.penalises:
        return None

    def one(weights: dict[str, Tensor]) -> Tensor:
        return objective.sparsifier.penalty(Weights(weights, objective.network.module))

    stacked = over_models(one, count)

    @torch.enable_grad()
    def own(weights: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        penalty = stacked(leaves)
        return penalty.detach(), _derivatives(penalty, leaves)

    return own


def _derivatives(values: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a sum by those leaves that have one."""
    if not values.requires_grad:
        return {}
    parts = torch.autograd.grad(values.sum(), list(leaves.values()), allow_unused=True)
    return {name: p for name, p in zip(leaves, parts, strict=True) if p is not None}
