"""How many models share a training step: a rule of device, model and batch."""

from __future__ import annotations

from math import log2, prod

import torch
from torch import nn

from privaudit.cohort.batches import Batches
from privaudit.cohort.game import Game
from privaudit.cohort.network import Network
from privaudit.training import Training

# Multiply-adds of a shared step up to which sharing gains more by saving overhead than it costs
# in memory traffic. The CPU's is between a small CNN (16 models win) and ResNet-20 (2 lose).
_WORK = {"cpu": 2**30, "cuda": 2**36}
_MOST = 64


def models_at_once(network: Network, data: Batches, game: Game, options: Training) -> int:
    """A power of two from 1 to 64; the same on every machine with such a device.

    Gradients of single examples hold a copy of the weights per example, so they count, too.
    """
    work = step_work(network, data, game, options)
    budget = _WORK.get(network.device.type, _WORK["cpu"])
    return int(min(_MOST, 2 ** max(0, int(log2(max(1, budget / max(1, work)))))))


def step_work(network: Network, data: Batches, game: Game, options: Training) -> int:
    """Multiply-adds of the forward pass of one model's step, or what its memory is like."""
    work = options.batch_size * multiply_adds(network, data.examples.shape)
    if game.defense.per_example:
        work = max(work, options.batch_size * network.size * 64)
    return work


def multiply_adds(network: Network, shape: tuple[int, ...]) -> int:
    """Of the convolutions and matrix products that one example (*shape) passes through."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        own = sum(p.numel() for p in layer.parameters(recurse=False) if p.ndim > 1)
        places = prod(output.shape[2:]) if output.ndim > 2 else 1
        total += own * places

    layers = [m for m in network.module.modules() if not list(m.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = network.module.training
    try:
        network.module.eval()
        with torch.no_grad():
            network.module(torch.zeros((1, *shape), device=network.device, dtype=network.dtype))
    finally:
        network.module.train(training)
        for hook in hooks:
            hook.remove()
    return total
