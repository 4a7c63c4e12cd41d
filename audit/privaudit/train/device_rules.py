"""How many models share a training step: a rule of device, model and batch."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor, nn

from privaudit.networks.network import Network
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import Objective
from privaudit.training import Training

# Multiply-adds of a shared step up to which sharing gains more by saving overhead than it costs
# in memory traffic. The CPU's is between a small CNN (16 models win) and ResNet-20 (2 lose).
_WORK = {"cpu": 2**30, "cuda": 2**36}
# Weights of a stack up to which they, their momentum and their gradients stay in a cache.
_WEIGHTS = {"cpu": 2**19, "cuda": 2**30}
_MOST = 64


def models_at_once(
    network: Network, data: DeviceDataset, objective: Objective, options: Training
) -> int:
    """A power of two from 1 to 64; the same on every machine with such a device.

    Gradients of single examples hold a copy of the weights per example, so they count, too.
    """
    work = step_work(network, data, objective, options)
    kind = network.device.type if network.device.type in _WORK else "cpu"
    most = min(_MOST, _WORK[kind] / max(1, work), _WEIGHTS[kind] / max(1, network.size))
    return int(2 ** max(0, int(log2(max(1, most)))))


def step_work(
    network: Network, data: DeviceDataset, objective: Objective, options: Training
) -> int:
    """Multiply-adds of the forward pass of one model's step, or what its memory is like."""
    kind = torch.int64 if data.examples.tokens else network.dtype
    work = options.batch_size * multiply_adds(network, data.examples.shape, kind)
    if objective.defense.per_example:
        work = max(work, options.batch_size * network.size * 64)
    return work


def multiply_adds(network: Network, shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Of one example (*shape) with the weights of convolutions and matrix products, roughly.

    A layer's weights, and the factors that it keeps in a list, meet every place of its answer:
    a pixel, a token. torch's own counter is exact, but imports its compiler, which takes seconds.
    """
    total = 0

    def count(layer: nn.Module, inputs: object, answer: object) -> None:
        nonlocal total
        lists = [c for c in layer.children() if isinstance(c, nn.ParameterList)]
        held = [p for owner in (layer, *lists) for p in owner.parameters(recurse=False)]
        weights = [p for p in held if p.ndim > 1]
        if weights and isinstance(answer, Tensor):
            width = answer.shape[1] if answer.ndim == 4 else answer.shape[-1]
            total += sum(p.numel() for p in weights) * (answer[0].numel() // max(1, width))

    hooks = [layer.register_forward_hook(count) for layer in network.module.modules()]
    training = network.module.training
    try:
        network.module.eval()
        with torch.no_grad():
            network.module(torch.zeros((1, *shape), device=network.device, dtype=dtype))
    finally:
        network.module.train(training)
        for hook in hooks:
            hook.remove()
    return total


def resolved(training: Training, device: torch.device) -> Training:
    """The options with the precision that `auto` means on a device."""
    if training.precision != "auto":
        return training
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return training.model_copy(update={"precision": "bf16" if mixed else "fp32"})
