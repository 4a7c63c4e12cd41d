"""Which weights lose all effect when whole filters go, and networks without them.

A filter is one output of a convolution or linear layer. When it is zero, so is its channel; its
BatchNorm's scale and shift and the weights that following layers have for that channel then do
nothing either, unless something else feeds the channel.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from privaudit.channels.wiring import ALIVE, CONVOLUTIONS, NORMS, wire

_LAYERS = (*CONVOLUTIONS, nn.Linear, *NORMS)
_BUFFERS = ("running_mean", "running_var")

Cuts = dict[str, tuple[Tensor, Tensor | None]]  # outputs and inputs that stay, (n,) int64


class Channels:
    """The channels of one network.

    Args:
        module: the network; only `remove` and `compact` look at its weights.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._wiring = wire(module)
        self._layers = _weighted(module)

    @property
    def filters(self) -> dict[str, int]:
        """How many filters each convolution and linear layer has.

        Layers come as the network calls them, or as it names them where it cannot be traced.
        """
        order = [*self._wiring.units, *(n for n in self._layers if n not in self._wiring.units)]
        layers = {n: self._layers[n] for n in order}
        return {n: len(m.weight) for n, m in layers.items() if not isinstance(m, NORMS)}

    @property
    def read_filters(self) -> tuple[str, ...]:
        """The layers of `filters` each filter of which is known to reach another layer's input."""
        columns = self._wiring.columns
        return tuple(self.at_filters({n: torch.zeros(1, len(c)) for n, c in columns.items()}))

    def at_filters(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What layers take in, by the filters that it comes from.

        Args:
            inputs: by layer, (M, inputs): a number for each input of a convolution or linear
                layer, such as its mean over examples.

        Returns:
            By layer, (M, filters): the mean over all inputs that a filter feeds, by way of
            BatchNorm, activations and pooling; of an input that several filters add up to, each
            has the number. Layers some filter of which reaches none of these inputs are left out.
        """
        wiring = self._wiring
        count = len(next(iter(inputs.values()), torch.zeros(0)))
        sums = torch.zeros(count, len(wiring.group), dtype=torch.float64)
        times = torch.zeros(len(wiring.group), dtype=torch.float64)
        for name, columns in wiring.columns.items():
            if name not in inputs:
                continue
            for turn, sources in enumerate(columns.unbind(1)):
                new = (sources != columns[:, 0]) | (turn == 0)  # rows are filled by their first
                sums.index_add_(1, sources[new], inputs[name][:, new].double())
                times.index_add_(0, sources[new], torch.ones(int(new.sum()), dtype=torch.float64))
        for unit in range(len(times) - 1, ALIVE, -1):  # what reads a unit has a higher number
            for reader in set(wiring.used[unit].tolist()) - {ALIVE}:
                sums[:, unit] += sums[:, reader]
                times[unit] += times[reader]
        known = {n: wiring.units[n] for n in self.filters if n in wiring.units}
        return {
            n: sums[:, units] / times[units]
            for n, units in known.items()
            if bool((times[units] > 0).all())
        }

    def without_effect(self, dead: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All weights that do nothing once some filters or BatchNorm channels are zero.

        Args:
            dead: by layer, (M, outputs) bool: filters of a convolution or linear layer, or
                channels of a BatchNorm, that are zero in each of M models.

        Returns:
            By parameter name, (M, *shape) bool: weights and biases of the dead, scales and shifts
            of BatchNorm behind them, filters read by none but dead BatchNorm channels, and the
            weights of following layers for channels that are zero.
        """
        count = len(next(iter(dead.values())))
        units = self._spread(dead, count)
        masks: dict[str, Tensor] = {}
        for name, layer in self._layers.items():
            nothing = torch.zeros(count, len(layer.weight), dtype=torch.bool)
            layer_units = self._wiring.units.get(name)
            outputs = dead.get(name, nothing) if layer_units is None else units[:, layer_units]
            where = outputs.view(*outputs.shape, *[1] * (layer.weight.ndim - 1))
            if name in self._wiring.columns:
                inputs = units[:, self._wiring.columns[name]].all(-1)
                where = where | inputs.view(count, 1, -1, *[1] * (layer.weight.ndim - 2))
            if bool(where.any()):
                masks[f"{name}.weight"] = where.expand(count, *layer.weight.shape)
                if layer.bias is not None:
                    masks[f"{name}.bias"] = outputs
        return masks

    def size(self, dead: Mapping[str, Tensor]) -> int:
        """How many parameters `remove` would leave."""
        left = sum(p.numel() for p in self._module.parameters())
        for name, (outputs, inputs) in self._cuts(self._filters_gone(dead)).items():
            layer = self._layers[name]
            per_filter = layer.weight[0].numel()
            if inputs is not None:
                per_filter = per_filter // layer.weight.shape[1] * len(inputs)
            left -= layer.weight.numel() - len(outputs) * per_filter
            left -= 0 if layer.bias is None else len(layer.bias) - len(outputs)
        return left

    def remove(self, dead: Mapping[str, Tensor]) -> nn.Module:
        """A smaller copy without some filters, as far as they can be taken out.

        A channel that several filters add up to goes only with all of them, and each layer keeps
        one filter at least. The answers stay the same if the filters and the BatchNorm channels
        behind them are zero.

        Args:
            dead: by layer, (outputs,) bool: filters of convolutions and linear layers.
        """
        return self._cut(self._filters_gone(dead))

    def compact(self) -> nn.Module:
        """A copy without the channels that are zero, with the same answers."""
        gone = torch.zeros(len(self._wiring.group), dtype=torch.bool)
        for name, layer_units in self._wiring.units.items():
            gone[layer_units] = _zero(self._layers[name])
        return self._cut(gone)

    def _spread(self, dead: Mapping[str, Tensor], count: int) -> Tensor:
        """(M, U) bool: every unit without effect."""
        wiring = self._wiring
        units = torch.zeros(count, len(wiring.group), dtype=torch.bool)
        for name, where in dead.items():
            if name in wiring.units:
                units[:, wiring.units[name]] = where
        while True:
            more = units | units[:, wiring.fed].all(-1) | units[:, wiring.used].all(-1)
            if torch.equal(more, units):
                return units
            units = more

    def _filters_gone(self, dead: Mapping[str, Tensor]) -> Tensor:
        return self._spread({n: where[None] for n, where in dead.items()}, 1)[0]

    def _cuts(self, gone: Tensor) -> Cuts:
        """What stays of each layer, by unit (U,) bool that may go."""
        group = self._wiring.group
        stays = torch.zeros_like(gone).index_put((group[~gone],), torch.tensor(True))
        stays[ALIVE] = True
        for unit_numbers in self._wiring.units.values():
            if not bool(stays[group[unit_numbers]].any()):
                stays[group[unit_numbers[0]]] = True
        left = stays[group]
        cuts: Cuts = {}
        for name, layer in self._layers.items():
            everything = torch.ones(len(layer.weight), dtype=torch.bool)
            layer_units, columns = self._wiring.units.get(name), self._wiring.columns.get(name)
            outputs = everything if layer_units is None else left[layer_units]
            inputs = None if columns is None else left[columns].any(1).nonzero()[:, 0]
            cuts[name] = outputs.nonzero()[:, 0], inputs
        return cuts

    def _cut(self, gone: Tensor) -> nn.Module:
        module = copy.deepcopy(self._module)
        for name, (rows, columns) in self._cuts(gone).items():
            layer = module.get_submodule(name)
            _keep_outputs(layer, rows)
            if columns is not None:
                _keep_inputs(layer, columns)
        return module


def compact(module: nn.Module) -> nn.Module:
    """A copy of a network without the channels that are zero, with the same answers.

    A channel is zero if its filter's weights and bias are, and the scale and shift of every
    BatchNorm behind it. It is taken out where every use of it allows: of channels that are added
    up, all have to be zero; the last layer's outputs stay; each layer keeps one channel at least;
    a network that torch.fx cannot trace stays as it is.
    """
    if not any(bool(_zero(layer).any()) for layer in _weighted(module).values()):
        return copy.deepcopy(module)  # without the second that tracing a deep network takes
    return Channels(module).compact()


def _weighted(module: nn.Module) -> dict[str, Any]:
    """Convolutions, linear layers and BatchNorms by name, but those without a scale."""
    layers = {n: m for n, m in module.named_modules() if type(m) in _LAYERS}
    return {n: m for n, m in layers.items() if m.weight is not None}


def _zero(layer: Any) -> Tensor:
    """(outputs,) bool: whether weights and bias of each output are zero."""
    tensors = [p.detach() for p in (layer.weight, layer.bias) if p is not None]
    return torch.cat([p.reshape(len(p), -1) == 0 for p in tensors], 1).all(1).cpu()


def _keep_outputs(layer: nn.Module, rows: Tensor) -> None:
    for name in ("weight", "bias"):
        _keep(layer, name, 0, rows)
    for name in _BUFFERS:
        if getattr(layer, name, None) is not None:
            setattr(layer, name, getattr(layer, name)[rows.to(getattr(layer, name).device)])
    for name in ("out_channels", "out_features", "num_features"):
        if hasattr(layer, name):
            setattr(layer, name, len(rows))


def _keep_inputs(layer: nn.Module, columns: Tensor) -> None:
    _keep(layer, "weight", 1, columns)
    for name in ("in_channels", "in_features"):
        if hasattr(layer, name):
            setattr(layer, name, len(columns))


def _keep(layer: nn.Module, name: str, axis: int, chosen: Tensor) -> None:
    old = getattr(layer, name)
    if old is not None:
        left = old.detach().index_select(axis, chosen.to(old.device))
        setattr(layer, name, nn.Parameter(left, requires_grad=old.requires_grad))
