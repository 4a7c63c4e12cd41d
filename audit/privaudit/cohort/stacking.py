"""How many models share a training step: a rule of device, model and batch."""

from __future__ import annotations

from math import log2

import torch
from torch.utils.flop_counter import FlopCounterMode

from privaudit.cohort.batches import Batches
from privaudit.cohort.game import Game
from privaudit.cohort.network import Network
from privaudit.training import Training

# Multiply-adds of a shared step up to which sharing gains more by saving overhead than it costs
# in memory traffic. The CPU's is between a small CNN (16 models win) and ResNet-20 (2 lose).
_WORK = {"cpu": 2**30, "cuda": 2**36}
# Weights of a stack up to which they, their momentum and their gradients stay in a cache.
_WEIGHTS = {"cpu": 2**20, "cuda": 2**30}
_MOST = 64


def models_at_once(network: Network, data: Batches, game: Game, options: Training) -> int:
    """A power of two from 1 to 64; the same on every machine with such a device.

    Gradients of single examples hold a copy of the weights per example, so they count, too.
    """
    work = step_work(network, data, game, options)
    kind = network.device.type if network.device.type in _WORK else "cpu"
    most = min(_MOST, _WORK[kind] / max(1, work), _WEIGHTS[kind] / max(1, network.size))
    return int(2 ** max(0, int(log2(max(1, most)))))


def step_work(network: Network, data: Batches, game: Game, options: Training) -> int:
    """Multiply-adds of the forward pass of one model's step, or what its memory is like."""
    work = options.batch_size * multiply_adds(network, data.examples.shape)
    if game.defense.per_example:
        work = max(work, options.batch_size * network.size * 64)
    return work


def multiply_adds(network: Network, shape: tuple[int, ...]) -> int:
    """Of the convolutions and matrix products that one example (*shape) passes through."""
    training = network.module.training
    try:
        network.module.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.module(torch.zeros((1, *shape), device=network.device, dtype=network.dtype))
    finally:
        network.module.train(training)
    return int(counter.get_total_flops()) // 2
