"""Chains of plain layers, forth and back for K models at once."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from privaudit.networks.network import KeyedDropout
from privaudit.train.sparse import SparseRows
from privaudit.train.ways import layers
from privaudit.train.ways.layers import Pass

Layers = list[tuple[str, nn.Module]]

_OF_IMAGES = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.Identity)


def chain(module: nn.Module, shape: tuple[int, ...]) -> Layers | None:
    """The layers that an example goes through one after another, by name; None if it is no chain.

    Known are linear layers, plain convolutions, BatchNorm of images, pooling of two by two,
    activations, dropout of single numbers, and flattening.

    Args:
        module: the network.
        shape: an example's.
    """
    listed = _listed(module)
    if not listed or len({layer for _, layer in listed}) < len(listed):
        return None  # the second use of a layer has no name of its own
    if len(shape) not in (1, 3):
        return None
    flat = len(shape) == 1
    for _, layer in listed:
        flat = flat or isinstance(layer, nn.Flatten)
        if isinstance(layer, _OF_IMAGES if flat else nn.Linear):
            return None
    return _pooled_first(listed)


def _pooled_first(listed: Layers) -> Layers:
    """ReLU after pooling, not before: the same numbers, and a quarter of them to go through."""
    listed = list(listed)
    for place, ((_, layer), (_, after)) in enumerate(pairwise(listed)):
        if isinstance(layer, nn.ReLU) and isinstance(after, nn.MaxPool2d):
            listed[place : place + 2] = listed[place + 1], listed[place]
    return listed


def _listed(module: nn.Module) -> Layers | None:
    if type(module) is not nn.Sequential:
        return None
    listed: Layers = []
    for name, child in module._modules.items():  # named_children skips second names
        assert child is not None
        inner = _listed(child) if type(child) is nn.Sequential else [("", child)]
        if inner is None or not all(type(c) is nn.Sequential or _known(c) for _, c in inner):
            return None
        listed += [(f"{name}.{below}" if below else name, layer) for below, layer in inner]
    return listed


def _known(layer: nn.Module) -> bool:
    if not all(p.requires_grad for p in layer.parameters()):
        return False
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if type(layer) is KeyedDropout:
        return not layer.features
    if type(layer) is nn.Conv2d:
        counted = not isinstance(layer.padding, str)
        return layer.groups == 1 and layer.padding_mode == "zeros" and counted
    if type(layer) is nn.BatchNorm2d:
        return layer.affine and layer.track_running_stats
    if type(layer) is nn.MaxPool2d:
        plain = (layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices)
        return layer.kernel_size == layer.stride == 2 and plain == (0, 1, False, False)
    return type(layer) is nn.Linear or type(layer) in _ELEMENTWISE


def entry(listed: Layers) -> str | None:
    """The linear layer that the input itself goes into; None if it goes into another."""
    inner = [(name, layer) for name, layer in listed if not isinstance(layer, nn.Flatten)]
    return inner[0][0] if inner and isinstance(inner[0][1], nn.Linear) else None


def forth(listed: Layers, now: Pass, x: Tensor | SparseRows) -> Tensor:
    """Logits (K, B, C) of examples (K, B, ...) in training, or of sparse ones if there is an entry.

    Args:
        listed: as `chain` lists them.
        now: what it all takes; keeps what `back` needs.
        x: each model's examples.
    """
    if isinstance(x, SparseRows):
        first = entry(listed)
        assert first is not None
        names = [name for name, _ in listed]
        answer = layers.sparse_linear(now, first, x)
        listed = listed[names.index(first) + 1 :]
    elif x.ndim == 5 and isinstance(listed[0][1], nn.Flatten):
        answer, listed = x.flatten(2), listed[1:]
    else:
        answer = layers.side_by_side(x) if x.ndim == 5 else x
    for name, layer in listed:
        if isinstance(layer, nn.Linear):
            answer = layers.linear(now, name, answer)
        elif isinstance(layer, nn.Flatten):
            answer = layers.flatten(now, answer)
        elif isinstance(layer, nn.Conv2d):
            answer = layers.convolution(now, name, layer, answer)
        elif isinstance(layer, nn.BatchNorm2d):
            answer = layers.batch_norm(now, name, layer, answer)
        elif isinstance(layer, nn.MaxPool2d):
            answer = layers.pool(now, answer)
        elif isinstance(layer, KeyedDropout):
            answer = layers.dropout(now, layer, answer)
        else:
            answer = layers.activation(now, layer, answer)
    return answer


def back(now: Pass, gradient: Tensor) -> dict[str, Tensor]:
    """Gradients (K, *shape) by name from that of the logits, (K, B, C)."""
    following: Tensor | None = gradient
    while now.back:
        way = now.back.pop()
        assert following is not None
        following = way(following)
    return now.gradients
