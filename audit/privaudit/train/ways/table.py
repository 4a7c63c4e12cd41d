"""The layers that a chain may be made of. What is not in `LAYERS` makes a network no chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from privaudit.networks.dropout import KeyedDropout
from privaudit.train.ways import layers
from privaudit.train.ways.activations import ACTIVATIONS
from privaudit.train.ways.passing import Pass


@dataclass(frozen=True)
class Layer:
    """One kind of layer.

    Attributes:
        forward: its answers for K models; leaves its own way back in the pass.
        accepts: whether it serves a layer with these options; another makes no chain.
        takes: what it can be given.
        flattens: whether images leave it as features.
    """

    forward: Callable[[Pass, str, nn.Module, Tensor], Tensor]
    accepts: Callable[[Any], bool] = lambda layer: True
    takes: Literal["features", "images", "both"] = "both"
    flattens: bool = False


def _plain_convolution(layer: nn.Conv2d) -> bool:
    counted = not isinstance(layer.padding, str)
    return layer.groups == 1 and layer.padding_mode == "zeros" and counted


def _two_by_two(layer: nn.MaxPool2d) -> bool:
    plain = (layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices)
    return layer.kernel_size == layer.stride == 2 and plain == (0, 1, False, False)


def _own_statistics(layer: nn.BatchNorm2d) -> bool:
    return layer.affine and layer.track_running_stats and layer.momentum is not None


LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: Layer(layers.linear, takes="features"),
    nn.Flatten: Layer(
        layers.flatten, lambda layer: (layer.start_dim, layer.end_dim) == (1, -1), flattens=True
    ),
    nn.Conv2d: Layer(layers.convolution, _plain_convolution, "images"),
    nn.BatchNorm2d: Layer(layers.batch_norm, _own_statistics, "images"),
    nn.MaxPool2d: Layer(layers.pool, _two_by_two, "images"),
    KeyedDropout: Layer(layers.dropout, lambda layer: not layer.features),
    **{kind: Layer(activation) for kind, activation in ACTIVATIONS.items()},
}


def entry_of(module: nn.Module) -> Layer | None:
    """The table's entry for a layer, its options and its weights; None: it has none."""
    entry = LAYERS.get(type(module))
    if entry is None or not entry.accepts(module):
        return None
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return None if hooked or not all(p.requires_grad for p in module.parameters()) else entry
