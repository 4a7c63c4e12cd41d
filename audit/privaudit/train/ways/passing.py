"""One way through a chain of layers, and what the way back needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from privaudit.networks.state import Buffers
from privaudit.train.optimizer import Optimizer


@dataclass
class Pass:
    """One way through the layers, and what the way back needs.

    Attributes:
        weights: (K, *shape) by name.
        buffers: theirs by name, as they are after the layers gone through.
        key: (K,) for dropout.
        optimizer: whose momentum large weights' gradients are added to, where it is to be had.
        gradients: by name, of weights gone back through; without those that a momentum took.
        back: for each layer, from the gradient of its answer to that of its input; empty as long
            as no layer had weights, because there is nothing to go back for.
    """

    weights: Mapping[str, Tensor]
    buffers: Buffers
    key: Tensor
    optimizer: Optimizer
    gradients: dict[str, Tensor] = field(default_factory=dict)
    back: list[Callable[[Tensor], Tensor | None]] = field(default_factory=list)
    dropouts: int = 0

    @property
    def models(self) -> int:
        """K."""
        return len(self.key)

    def returns(self, way: Callable[[Tensor], Tensor]) -> None:
        """A layer without weights has been gone through."""
        if self.back:
            self.back.append(way)
