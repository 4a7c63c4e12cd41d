"""One architecture as a pure function of flat weights, so that many models can share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from privaudit.errors import PluginError
from privaudit.keys import fold, uniform

Buffers = dict[str, Tensor]


class KeyedDropout(nn.Module):
    """Dropout whose mask is drawn from the model's own key, held in the buffer `key`."""

    key: Tensor

    def __init__(self, p: float, features: bool) -> None:
        super().__init__()
        self.p = p
        self.features = features  # whole channels, as Dropout1d to Dropout3d do
        self.register_buffer("key", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share p of x (B, ...) and scale up the rest, while training."""
        if not self.training or self.p == 0:
            return x
        shape = x.shape[:2] + (1,) * (x.ndim - 2) if self.features else x.shape
        keep = uniform(self.key, *shape) >= self.p
        self.key = fold(self.key, 0)  # a layer called twice draws two masks
        return x * keep / (1 - self.p)


def adapt(module: nn.Module) -> nn.Module:
    """Replace dropout by its keyed form and refuse what cannot be trained many at once.

    Raises:
        PluginError: a layer draws from torch's shared generator or keeps state that cannot be
            passed as an argument; the layer is named.
    """
    for name, layer in list(module.named_modules()):
        refusal = _refusal(layer)
        if refusal:
            raise PluginError(f"layer {name!r} of the network {refusal}")
        for child_name, child in layer._modules.items():  # named_children skips second names
            if isinstance(child, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
                keyed = KeyedDropout(child.p, features=not isinstance(child, nn.Dropout))
                setattr(layer, child_name, keyed)
    return module


def _refusal(layer: nn.Module) -> str | None:
    if isinstance(layer, _BatchNorm) and layer.momentum is None:
        return "is a BatchNorm with momentum=None, a cumulative average: give it a momentum"
    if parametrize.is_parametrized(layer) or hasattr(layer, "weight_g"):
        return "is parametrised (weight_norm and the like): use plain weights"
    if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
        return "is an AlphaDropout: use nn.Dropout, whose randomness can be each model's own"
    if isinstance(layer, nn.MultiheadAttention | nn.RNNBase) and layer.dropout > 0:
        return "drops out inside torch: set its dropout to 0 and add an nn.Dropout"
    if any(nn.parameter.is_lazy(p) for p in layer.parameters(recurse=False)):
        return "is lazy: give its sizes"
    return None


class Network:
    """The structure that M models share, and how P flat weights fill it.

    Attributes:
        module: the structure; its own weights are never used.
        names: of the trained parameters, in the order of the flat weights.
        shapes: theirs.
        size: P.
        column_by_column: the matrix whose columns flat weights hold one after another, not its
            rows; None: none.
    """

    column_by_column: str | None = None

    def __init__(self, module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.module = adapt(module).to(device=device, dtype=dtype)
        trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.names = tuple(trained)
        self.shapes = tuple(tuple(p.shape) for p in trained.values())
        self.sizes = [prod(shape) for shape in self.shapes]
        self.size = sum(self.sizes)
        self.dtype = dtype
        self.device = device
        self._dropouts = [n for n, m in module.named_modules() if isinstance(m, KeyedDropout)]

    def turned(self, name: str) -> Network:
        """The same, but flat weights hold that matrix column by column.

        `there.flatten(here.views(flat), flat)` turns flat weights from here into flat weights
        there.
        """
        there = copy(self)
        there.column_by_column = name
        return there

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named weights (..., *shape) that share memory with flat weights (..., P)."""
        parts = torch.split(flat, self.sizes, dim=-1)
        lead = flat.shape[:-1]
        return {
            n: p.reshape(lead + s[::-1]).mT if n == self.column_by_column else p.reshape(lead + s)
            for n, s, p in zip(self.names, self.shapes, parts, strict=True)
        }

    def flatten(self, named: Mapping[str, Tensor], otherwise: Tensor) -> Tensor:
        """Flat weights (..., P) from named ones; a name not given is taken from `otherwise`."""
        lead = otherwise.shape[:-1]
        parts = torch.split(otherwise, self.sizes, dim=-1)
        turned = self.column_by_column
        named = {n: w.mT if n == turned else w for n, w in named.items()}
        chosen = [
            named[n].to(otherwise).reshape((*lead, -1)) if n in named else part
            for n, part in zip(self.names, parts, strict=True)
        ]
        return torch.cat([otherwise[..., :0], *chosen], dim=-1)

    def forward(
        self,
        weights: Tensor | Mapping[str, Tensor],
        buffers: Buffers,
        *inputs: Tensor,
        key: Tensor | None = None,
    ) -> tuple[Tensor, Buffers]:
        """Logits (B, C) of one model and its buffers afterwards.

        Args:
            weights: (P,), or by name.
            buffers: by name; not changed.
            inputs: what the module takes: normalised examples (B, ...).
            key: for dropout, which also means that the network trains; None to answer.
        """
        self.module.train(key is not None)
        given = buffers
        buffers = {n: b.clone() for n, b in buffers.items()}
        keys = [f"{name}.key" for name in self._dropouts] if key is not None else []
        if key is not None:
            buffers |= {name: fold(key, i) for i, name in enumerate(keys)}
        named = self.views(weights) if isinstance(weights, Tensor) else dict(weights)
        answer = functional_call(self.module, (named, buffers), inputs)
        return answer, buffers | {name: given[name] for name in keys}  # drawn anew next time


def stack(modules: Sequence[nn.Module], dtype: torch.dtype) -> tuple[Tensor, Buffers]:
    """The weights (M, P) of M modules of one architecture, and their buffers (M, ...)."""
    flat = torch.stack(
        [
            torch.cat(
                [torch.zeros(0)]
                + [p.detach().reshape(-1) for p in m.parameters() if p.requires_grad]
            )
            for m in modules
        ]
    )
    held = [
        dict(m.named_buffers()) | {n: p for n, p in m.named_parameters() if not p.requires_grad}
        for m in modules
    ]
    buffers = {n: torch.stack([h[n].detach() for h in held]) for n in held[0]}
    return flat.to(dtype), {
        n: b.to(dtype) if b.is_floating_point() else b for n, b in buffers.items()
    }
