"""What hooks return in the middle of a step: of the right kind, so that nothing is broadcast."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from privaudit.api.boundary import broken
from privaudit.api.plugin import Plugin, Weights


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


def projected(plugin: Plugin, value: object, weights: Weights) -> Mapping[str, Tensor]:
    """Weights by name, as `project` moves them.

    Raises:
        PluginError: they are no mapping, or a name or a shape is not the network's.
    """
    if not isinstance(value, Mapping):
        raise broken(plugin, "project", f"gives {type(value).__name__}, not a mapping of weights")
    for name, weight in value.items():
        if name not in weights:
            what = f"names a weight {str(name)!r:.100} that the network lacks"
            raise broken(plugin, "project", f"{what}: there are {', '.join(weights)}")
        alike(plugin, "project", weight, weights[name])
    return value
