"""The least that a training step must take: by its bytes, and by its arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.gpu.cards import Card
from privaudit.networks.multiply_adds import multiply_adds

_WIDTH = {"fp32": 4, "tf32": 4, "bf16": 2}  # bytes of an activation
_PER_WEIGHT = 4 * 7  # read forth and back, gradient written and read, momentum and weight updated


@dataclass(frozen=True)
class StepSize:
    """What one step moves and computes at the least.

    Attributes:
        activations: numbers that pass between memory and the layers with weights.
        weights: numbers that are trained.
        multiply_adds: forth and back.
    """

    activations: int
    weights: int
    multiply_adds: int

    def seconds(self, card: Card, precision: str) -> tuple[float, float]:
        """The floors by bandwidth and by arithmetic, one model and step."""
        moved = self.activations * _WIDTH[precision] + self.weights * _PER_WEIGHT
        return moved / card.bandwidth, 2 * self.multiply_adds / card.flops[precision]


def step_size(network: nn.Module, x: Tensor, batch: int) -> StepSize:
    """What a step with so many examples like x, (1, ...), is made of.

    Everything between two layers with weights is counted as fused with them, so that of a layer
    only its input and its output pass: input read, output written; on the way back the output's
    gradient read for the input's, the input read for the weights', and the input's gradient
    written. The way back takes twice the multiply-adds of the way forth.
    """
    numbers = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal numbers
        numbers += 3 * inputs[0].numel() + 2 * output.numel()

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network.eval()
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    weights = sum(p.numel() for p in network.parameters())
    return StepSize(numbers * batch, weights, 3 * multiply_adds(network, x, zeros=True) * batch)
