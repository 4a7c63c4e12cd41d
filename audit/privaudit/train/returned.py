"""What hooks return in the middle of a step: of the right kind, so that nothing is broadcast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from privaudit.api.boundary import broken
from privaudit.api.plugin import Plugin, Weights

_KEPT = frozenset({
    torch.float64, torch.float32, torch.bfloat16, torch.float16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
})  # fmt: skip


def scalar(plugin: Plugin, hook: str, value: object) -> Tensor:
    """A number to be minimised.

    Raises:
        PluginError: it is none.
    """
    if not isinstance(value, Tensor):
        raise broken(plugin, hook, f"gives {type(value).__name__}, not a scalar tensor")
    if value.ndim:
        raise broken(plugin, hook, f"gives shape {tuple(value.shape)}, not a scalar: take .mean()")
    if not value.is_floating_point():
        raise broken(plugin, hook, f"gives {value.dtype}, not a floating-point number")
    return value


def alike(plugin: Plugin, hook: str, value: object, given: Tensor) -> Tensor:
    """What takes the place of a tensor: of the same shape, and of its kind of numbers.

    Raises:
        PluginError: it is something else.
    """
    if not isinstance(value, Tensor):
        raise broken(plugin, hook, f"gives {type(value).__name__}, not a tensor")
    if value.shape != given.shape:
        what = f"gives shape {tuple(value.shape)} for one of shape {tuple(given.shape)}"
        raise broken(plugin, hook, what)
    if value.dtype == given.dtype:
        return value
    if value.is_floating_point() and given.is_floating_point():
        return value.to(given.dtype)
    raise broken(plugin, hook, f"gives {value.dtype} for {given.dtype}")


def projected(
    plugin: Plugin, value: object, weights: Weights
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights by name, as `project` moves them, and what it remembers anew.

    Raises:
        PluginError: they are no mapping, or a name or a shape is not the network's.
    """
    changed = _named(plugin, "project", value, {**weights, **weights.memory}, "a weight", "network")
    memory = {name: tensor for name, tensor in changed.items() if name in weights.memory}
    return {name: tensor for name, tensor in changed.items() if name in weights}, memory


def remembered(plugin: Plugin, value: object, weights: Weights) -> dict[str, Tensor]:
    """What `remember` puts into the memory, by name.

    Raises:
        PluginError: it is no mapping, or a name or a shape is not the memory's.
    """
    return _named(plugin, "remember", value, weights.memory, "a tensor", "memory")


def first_memory(plugin: Plugin, value: object, weights: Weights) -> dict[str, Tensor]:
    """What `memory` says that a fit starts with, in memory of its own.

    Raises:
        PluginError: it is no mapping of names to tensors, or such as cannot be kept.
    """
    hook = "memory"
    if not isinstance(value, Mapping):
        raise broken(plugin, hook, f"gives {type(value).__name__}, not a mapping of tensors")
    for name, tensor in value.items():
        if not isinstance(name, str) or not name:
            raise broken(plugin, hook, f"names a tensor {name!r:.100}: a name is a text")
        if name in weights:
            what = f"names a tensor {name!r:.100}, as a weight is called"
            raise broken(plugin, hook, f"{what}: give it a name of its own, such as 'old {name}'")
        if not isinstance(tensor, Tensor):
            raise broken(
                plugin, hook, f"gives {type(tensor).__name__} for {name!r:.100}, no tensor"
            )
        if tensor.layout != torch.strided or tensor.dtype not in _KEPT:
            kind = tensor.dtype if tensor.layout == torch.strided else tensor.layout
            raise broken(plugin, hook, f"gives {kind} for {name!r:.100}, which cannot be kept")
    return {name: tensor.detach().clone() for name, tensor in value.items()}


def _named(
    plugin: Plugin, hook: str, value: object, there: Mapping[str, Tensor], what: str, whose: str
) -> dict[str, Tensor]:
    """Tensors in the place of others, by name."""
    if not isinstance(value, Mapping):
        raise broken(plugin, hook, f"gives {type(value).__name__}, not a mapping of tensors")
    for name in value:
        if name not in there:
            lacks = f"names {what} {str(name)!r:.100} that the {whose} lacks"
            raise broken(plugin, hook, f"{lacks}: there are {', '.join(there) or 'none'}")
    return {name: alike(plugin, hook, tensor, there[name]) for name, tensor in value.items()}
