"""Activations, number by number: what each gives, and its derivative.

A new one is a line in `ACTIVATIONS`; the tests hold every line to automatic differentiation. None
works in place, whatever the layer says, because the layer before may need its answer on the way
back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from privaudit.train.ways.passing import Pass

_ops = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes:
        forward: from the layer and its input.
        backward: from the layer, the gradient of its answer, its input and its answer to the
            gradient of its input.
    """

    forward: Callable[[Any, Tensor], Tensor]
    backward: Callable[[Any, Tensor, Tensor, Tensor], Tensor]

    def __call__(self, now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
        """What the layer gives; its way back is left in `now`."""
        answer = self.forward(layer, x)
        now.returns(lambda gradient: self.backward(layer, gradient, x, answer))
        return answer


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Identity: Activation(lambda layer, x: x, lambda layer, g, x, y: g),
    nn.ReLU: Activation(
        lambda layer, x: functional.relu(x), lambda layer, g, x, y: _ops.threshold_backward(g, y, 0)
    ),
    nn.Tanh: Activation(lambda layer, x: x.tanh(), lambda layer, g, x, y: _ops.tanh_backward(g, y)),
    nn.Sigmoid: Activation(
        lambda layer, x: x.sigmoid(), lambda layer, g, x, y: _ops.sigmoid_backward(g, y)
    ),
    nn.GELU: Activation(
        lambda layer, x: functional.gelu(x, approximate=layer.approximate),
        lambda layer, g, x, y: _ops.gelu_backward(g, x, approximate=layer.approximate),
    ),
    nn.SiLU: Activation(
        lambda layer, x: functional.silu(x), lambda layer, g, x, y: _ops.silu_backward(g, x)
    ),
}
