"""From plugins to the initial weights of M models, each under its own seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privaudit.api.boundary import guest
from privaudit.api.calls import checked_module
from privaudit.api.plugin import Defense, Model, Sparsifier, overrides
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
        return adapt(checked_module(sparsifier, "prepare", module))

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
        return adapt(checked_module(defense, "companion", module))

    return _stacked(one, seeds, device, dtype)


def _stacked(
    one: Callable[[int], nn.Module],
    seeds: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Network, Tensor, Buffers]:
    modules = [one(seed) for seed in seeds]
    flat, buffers = stack(modules, dtype)
    return Network(modules[0], device, dtype), flat, buffers
