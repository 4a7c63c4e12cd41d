"""How many models share a training step: a rule of device, model and batch."""

from __future__ import annotations

from math import log2

import torch

from privaudit.networks.multiply_adds import multiply_adds
from privaudit.networks.network import Network
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import Objective
from privaudit.training import MOST, Training

# Multiply-adds of a shared step up to which sharing gains more by saving overhead than it costs
# in memory traffic. The CPU's is between a small CNN (16 models win) and ResNet-20 (2 lose).
_WORK = {"cpu": 2**30, "cuda": 2**36}
# Weights of a stack up to which they, their momentum and their gradients stay in a cache.
_WEIGHTS = {"cpu": 2**19, "cuda": 2**30}
_MOST = 64


def models_at_once(
    objective: Objective, data: DeviceDataset, options: Training, way: str = "vmapped"
) -> int:
    """A power of two from 1 to 64; the same on every machine with such a device.

    Gradients of single examples hold a copy of the weights per example, so they count, too. One
    after another, models share nothing.
    """
    if way == "plain":
        return 1
    network = objective.network
    work = step_work(objective, data, options)
    kind = network.device.type if network.device.type in _WORK else "cpu"
    most = min(_MOST, _WORK[kind] / max(1, work), _WEIGHTS[kind] / max(1, network.size))
    return int(2 ** max(0, int(log2(max(1, most)))))


def step_work(objective: Objective, data: DeviceDataset, options: Training) -> int:
    """Multiply-adds of the forward pass of one model's step, or what its memory is like."""
    network = objective.network
    work = options.batch_size * _multiply_adds(network, data)
    if objective.defense.per_example:
        work = max(work, options.batch_size * network.size * 64)
    return work


def _multiply_adds(network: Network, data: DeviceDataset) -> int:
    """Of one example with every weight."""
    count = network.batch or 1
    x = data.plain(torch.zeros(count, dtype=torch.int64, device=network.device))
    x = x.contiguous() if network.contiguous else x
    training = network.module.training
    try:
        return multiply_adds(network.module.eval(), x, zeros=True) // count
    finally:
        network.module.train(training)


def resolved(training: Training, device: torch.device) -> Training:
    """The options with the precision that `auto` means on a device."""
    if training.precision != "auto":
        return training
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return training.model_copy(update={"precision": "bf16" if mixed else "fp32"})


class StackLimits:
    """How many models have turned out to be too many for the device's memory, for one run."""

    def __init__(self) -> None:
        self._most: dict[tuple[int, ...], int] = {}

    def most(self, fit: tuple[int, ...]) -> int:
        """How many models may share the steps of fits of a kind."""
        return self._most.get(fit, MOST)

    def lower(self, fit: tuple[int, ...], most: int) -> bool:
        """Note that no more than so many may; whether that is news."""
        if most >= self.most(fit):
            return False
        self._most[fit] = most
        return True
