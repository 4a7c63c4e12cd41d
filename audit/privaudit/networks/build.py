"""From plugins to the initial weights of M models, each under its own seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privaudit.api.boundary import broken, guest
from privaudit.api.calls import checked_module
from privaudit.api.plugin import Defense, Model, Plugin, Sparsifier, overrides
from privaudit.keys import derive, seeded
from privaudit.networks.bounded import within_memory
from privaudit.networks.dropout import adapt
from privaudit.networks.network import Network, stack
from privaudit.networks.state import Buffers


def build_networks(
    model: Model,
    sparsifier: Sparsifier,
    shape: tuple[int, ...],
    classes: int,
    seeds: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Network, Tensor, Buffers, int]:
    """The structure, weights (M, P), buffers (M, ...) and the dense network's parameter count.

    Raises:
        PluginError: the network cannot be trained in a cohort.
    """
    dense = 0

    def one(seed: int) -> nn.Module:
        nonlocal dense
        with guest(model, "build"), seeded(derive(seed, "build")), within_memory(model):
            module = model.build(shape, classes)
        module = adapt(checked_module(model, "build", module))
        dense = sum(p.numel() for p in module.parameters())
        with guest(sparsifier, "prepare"), seeded(derive(seed, "prepare")):
            module = sparsifier.prepare(module)
        module = adapt(checked_module(sparsifier, "prepare", module))
        return apart(module, sparsifier if overrides(sparsifier, "prepare") else model)

    apart = _Apart("prepare" if overrides(sparsifier, "prepare") else "build")
    network, flat, buffers = _stacked(one, seeds, device, dtype)
    return network, flat, buffers, dense


def build_companions(
    defense: Defense,
    classes: int,
    seeds: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Network | None, Tensor, Buffers]:
    """The second player's structure, weights (M, Pc) and buffers; Pc is 0 without one."""
    if not overrides(defense, "companion"):
        return None, torch.zeros((len(seeds), 0), dtype=dtype), {}

    def one(seed: int) -> nn.Module:
        with guest(defense, "companion"), seeded(derive(seed, "companion")):
            module = defense.companion(classes)
        return apart(adapt(checked_module(defense, "companion", module)), defense)

    apart = _Apart("companion")
    return _stacked(one, seeds, device, dtype)


class _Apart:
    """Sees that networks are alike in structure and share no weights.

    They share weights where a plugin keeps a network and gives it again.

    Args:
        hook: that gives them.
    """

    def __init__(self, hook: str) -> None:
        self._hook = hook
        self._weights: dict[int, Tensor] = {}  # held, so that no other takes its place in memory
        self._structure: dict[str, object] = {}

    def __call__(self, module: nn.Module, plugin: Plugin) -> nn.Module:
        """The network.

        Raises:
            PluginError: it shares weights with an earlier one, or is of another structure.
        """
        structure = _structure(module)
        self._structure = self._structure or structure
        if structure != self._structure:
            name = min(name for name, _ in self._structure.items() ^ structure.items())
            what = (
                f"gives networks that differ in structure, as in {name!r}: choose layers by name, "
                "kind or shape, never by chance or by their weights"
            )
            raise broken(plugin, self._hook, what)
        here = {id(p): p for p in module.parameters() if p.requires_grad}
        if here.keys() & self._weights.keys():
            what = "gives the weights of an earlier network again: build a new one in each call"
            raise broken(plugin, self._hook, what)
        self._weights |= here
        return module


def _structure(module: nn.Module) -> dict[str, object]:
    """What all networks of a cohort have in common: by name, kinds of layers and shapes."""
    # By the names of the kinds: torch.nn.utils.parametrize makes a class anew for each layer.
    layers: dict[str, object] = {
        n: type(layer).__qualname__ for n, layer in module.named_modules() if n
    }
    tensors = (*module.named_parameters(), *module.named_buffers())
    return layers | {n: (tuple(t.shape), t.requires_grad) for n, t in tensors}


def _stacked(
    one: Callable[[int], nn.Module],
    seeds: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Network, Tensor, Buffers]:
    modules = [one(seed) for seed in seeds]
    flat, buffers = stack(modules, dtype)
    return Network(modules[0], device, dtype), flat, buffers
