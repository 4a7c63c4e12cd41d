"""What layers take in on average, by which pruners tell the units that stay silent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from privaudit.api.float32 import float32_products
from privaudit.api.plugin import Plugin
from privaudit.cohort.fits import Fits
from privaudit.networks.state import State
from privaudit.store.journal import digest
from privaudit.store.unit_file import like

_ROWS = 500  # examples at once
_SPACE: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}  # its axes


def mean_inputs(
    fits: Fits, weights: State, rows: list[Tensor], owner: tuple[Plugin, ...]
) -> dict[str, Tensor]:
    """The mean (M, inputs), float64, of each input of each convolution and linear layer.

    Over examples and over places: positions of an image, tokens of a text. A unit of the
    journal, as gradients are, and zeros in a plan that lacks a training.
    """
    layers = _layers(fits.network.module)
    sizes = [_inputs(layer) for layer in layers.values()]
    means = torch.zeros(len(rows), sum(sizes), dtype=torch.float64)
    if not fits.waits:
        common = digest("mean inputs", fits.source, list(layers), *owner)
        for m, chosen in enumerate(rows):
            state = weights[torch.tensor([m])]
            key = digest(common, state.flat, state.buffers, chosen)
            schema = like("mean inputs", {"means": means[m]})
            unit = fits.journal.find(key, schema)
            if unit is None:
                unit = {"means": _means(fits, state, chosen)}
                fits.journal.keep(schema.name, {key: unit})
            means[m] = unit["means"]
    return dict(zip(layers, torch.split(means, sizes, 1), strict=True))


@torch.no_grad()
@float32_products()
def _means(fits: Fits, state: State, rows: Tensor) -> Tensor:
    """(inputs of all layers,) of one model."""
    network = fits.network.one_at_a_time()
    layers = _layers(network.module)
    sums = {
        name: torch.zeros(_inputs(layer), dtype=torch.float64) for name, layer in layers.items()
    }
    counts = dict.fromkeys(layers, 0)

    def listener(name: str, axis: int) -> Callable[..., None]:
        def hear(layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            given = inputs[0] if inputs else named["input"]
            x = given.movedim(axis, -1).flatten(0, -2)  # (examples and places, inputs)
            sums[name] += x.double().sum(0).cpu()
            counts[name] += len(x)

        return hear

    handles = [
        layer.register_forward_pre_hook(listener(name, _axis(layer)), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        state = state.to(network.device).one(0)
        for part in torch.split(rows.to(network.device), _ROWS):
            network.forward(network.leaves(state.flat), state.buffers, fits.data.plain(part))
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat([sums[name] / max(1, counts[name]) for name in layers])


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    kinds = (*_SPACE, nn.Linear)
    return {name: layer for name, layer in module.named_modules() if type(layer) in kinds}


def _inputs(layer: nn.Module) -> int:
    return int(getattr(layer, "in_features", 0) or getattr(layer, "in_channels", 0))


def _axis(layer: nn.Module) -> int:
    """Of the inputs, counted from the last."""
    return -1 - _SPACE.get(type(layer), 0)
