"""How many models share a training step: a rule of device, model and batch."""

from __future__ import annotations

from math import log2
from typing import NamedTuple

import torch
from torch import Tensor

from privaudit.networks.multiply_adds import multiply_adds
from privaudit.networks.network import Network
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import Objective
from privaudit.training import MOST, Training


class Limits(NamedTuple):
    """Up to where sharing a step gains more by saving overhead than it costs.

    Attributes:
        alone: multiply-adds of one model's step from which it gains nothing.
        work: multiply-adds of a shared step.
        weights: of a stack.
        source: where the numbers are from.
    """

    alone: int
    work: int
    weights: int
    source: str


LIMITS = {
    "cpu": Limits(
        2**24,
        2**30,
        2**19,
        "measured on two cores, one thread: a CNN on digits gains 1.6 times by company at 12 "
        "million multiply-adds a step; on CIFAR-10 it neither gains nor loses at 8 million, and "
        "loses 1.2 times at 17 and 1.4 times at 52; the weights, their momentum and gradients fit "
        "a cache",
    ),
    "cuda": Limits(
        2**36,
        2**36,
        2**30,
        "estimated, on no GPU: `python -m benchmarks.gpu` measures what to put here",
    ),
}
_MOST = 64
_SHARE = 0.8  # of the free memory that a step may take: the rest is for what no rule counts
# A weight, its gradient, momentum (two with Adam), start, best and a projection's or update's copy.
_COPIES = 8
_REMEMBERED = 4  # what a sparsifier remembers: start, now, best, and what takes its place
# An activation is kept for the way back, has a gradient, and is copied by what is not fused.
_PASSES = 3


def models_at_once(
    objective: Objective,
    data: DeviceDataset,
    options: Training,
    way: str = "vmapped",
    memory: int | None = None,
    remembered: int = 0,
) -> int:
    """A power of two from 1 to 64: by the table of a kind of device, and by its free memory.

    The same on every CPU; on a GPU, whatever is known to fit. Gradients of single examples hold a
    copy of the weights per example, so they count, too. One after another, models share nothing.

    Args:
        objective: the network and its hooks.
        data: the examples.
        options: the schedule.
        way: by which steps are taken.
        memory: bytes that the device has free; asked of the device if not given.
        remembered: bytes that the sparsifier remembers of one model.
    """
    if way == "plain":
        return 1
    network = objective.network
    work = step_work(objective, data, options)
    limits = LIMITS.get(network.device.type, LIMITS["cpu"])
    if work >= limits.alone:
        return 1
    most = min(
        _MOST,
        limits.work / max(1, work),
        limits.weights / max(1, network.size + remembered // network.dtype.itemsize),
    )
    memory = free_memory_of(network.device) if memory is None else memory
    if memory is not None:
        taken = step_memory(objective, data, options) + _REMEMBERED * remembered
        most = min(most, _SHARE * memory / max(1, taken))
    return int(2 ** max(0, int(log2(max(1, most)))))


def free_memory_of(device: torch.device) -> int | None:
    """Bytes that a GPU has free, with what torch keeps of it for later; None on other devices."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def step_memory(objective: Objective, data: DeviceDataset, options: Training) -> int:
    """Bytes that one model's training takes on its device, about and rather too many."""
    network = objective.network
    numbers = _COPIES * network.size
    numbers += _PASSES * options.batch_size * _activations(network, data)
    if objective.defense.per_example:
        numbers += network.size * options.batch_size
    return numbers * network.dtype.itemsize


def _activations(network: Network, data: DeviceDataset) -> int:
    """Numbers that the layers make of one example, and the example's own."""
    numbers = [0]

    def count(layer: torch.nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and not any(layer.children()):
            numbers[0] += output.numel()

    batch = network.batch or 1
    x = data.plain(torch.zeros(batch, dtype=torch.int64, device=network.device))
    x = x.contiguous() if network.contiguous else x
    training = network.module.training
    hooks = [layer.register_forward_hook(count) for layer in network.module.modules()]
    try:
        with torch.no_grad():
            network.module.eval()(x)
    finally:
        network.module.train(training)
        for hook in hooks:
            hook.remove()
    return (numbers[0] + x.numel()) // batch


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
