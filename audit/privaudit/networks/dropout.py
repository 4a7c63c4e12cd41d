"""Dropout whose randomness is each model's own, and layers that cannot be built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from privaudit.errors import PluginError
from privaudit.keys import fold, uniform


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
    """Replace dropout layers by their keyed form.

    Dropout inside attention and recurrent layers stays torch's own: such networks are trained one
    after another, each with torch's generator under its own key.

    Raises:
        PluginError: a layer's weights do not exist yet; the layer is named.
    """
    for name, layer in list(module.named_modules()):
        if any(nn.parameter.is_lazy(p) for p in layer.parameters(recurse=False)):
            raise PluginError(f"layer {name!r} of the network is lazy: give its sizes")
        for child_name, child in layer._modules.items():  # named_children skips second names
            if isinstance(child, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
                keyed = KeyedDropout(child.p, features=not isinstance(child, nn.Dropout))
                setattr(layer, child_name, keyed)
    return module
