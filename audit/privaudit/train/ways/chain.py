"""Chains of plain layers, forth and back for K models at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from privaudit.train.sparse import SparseRows
from privaudit.train.ways import layers
from privaudit.train.ways.passing import Pass
from privaudit.train.ways.table import Layer, entry_of

Chain = list[tuple[str, nn.Module, Layer]]


def chain(module: nn.Module, shape: tuple[int, ...]) -> Chain | None:
    """The layers that an example goes through one after another, by name; None if it is no chain.

    Args:
        module: the network.
        shape: an example's: features (D,) or an image (C, H, W); others if they are flattened.
    """
    if type(module) is not nn.Sequential:
        return None
    layers_by_name = list(_listed(module))
    if not layers_by_name or len({layer for _, layer in layers_by_name}) < len(layers_by_name):
        return None  # the second use of a layer has no name of its own
    reached = {1: "features", 3: "images"}.get(len(shape), "others")
    listed: Chain = []
    for name, layer in layers_by_name:
        kind = entry_of(layer)
        if kind is None or (reached == "others" and not kind.flattens):
            return None
        if kind.takes not in (reached, "both"):
            return None
        reached = "features" if kind.flattens else reached
        listed.append((name, layer, kind))
    return _pooled_first(listed)


def _listed(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers of a network that is nothing but sequences, by name; else the network itself."""
    if type(module) is not nn.Sequential or module._forward_hooks or module._forward_pre_hooks:
        yield "", module
        return
    for name, child in module._modules.items():  # named_children skips second names
        assert child is not None
        for below, layer in _listed(child):
            yield f"{name}.{below}" if below else name, layer


def _pooled_first(listed: Chain) -> Chain:
    """ReLU after pooling, not before: the same numbers, and a quarter of them to go through."""
    listed = list(listed)
    for number, ((_, layer, _), (_, after, _)) in enumerate(pairwise(listed)):
        if isinstance(layer, nn.ReLU) and isinstance(after, nn.MaxPool2d):
            listed[number : number + 2] = listed[number + 1], listed[number]
    return listed


def entry(listed: Chain) -> str | None:
    """The linear layer that the input itself goes into; None if it goes into another."""
    inner = [(name, layer) for name, layer, kind in listed if not kind.flattens]
    return inner[0][0] if inner and isinstance(inner[0][1], nn.Linear) else None


def forth(listed: Chain, now: Pass, x: Tensor | SparseRows) -> Tensor:
    """Logits (K, B, C) of examples (K, B, ...) in training, or of sparse ones if there is an entry.

    Args:
        listed: as `chain` lists them.
        now: what it all takes; keeps what `back` needs.
        x: each model's examples.
    """
    if isinstance(x, SparseRows):
        first = entry(listed)
        assert first is not None
        names = [name for name, *_ in listed]
        answer = layers.sparse_linear(now, first, x)
        listed = listed[names.index(first) + 1 :]
    elif x.ndim > 3 and listed[0][2].flattens:
        answer, listed = x.flatten(2), listed[1:]
    else:
        answer = layers.side_by_side(x) if x.ndim == 5 else x
    for name, layer, kind in listed:
        answer = kind.forward(now, name, layer, answer)
    return answer


def back(now: Pass, gradient: Tensor) -> dict[str, Tensor]:
    """Gradients (K, *shape) by name from that of the logits, (K, B, C)."""
    following: Tensor | None = gradient
    while now.back:
        way = now.back.pop()
        assert following is not None
        following = way(following)
    return now.gradients
