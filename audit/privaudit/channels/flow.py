"""What functions do to the channels of a tensor, as far as it is understood.

A *unit* is one output of a convolution or linear layer (a filter), or one channel of a BatchNorm.
A channel of a tensor is the sum of some units, each passed through functions that keep zero at
zero. Every function here answers None for what it does not understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from privaudit.networks.dropout import KeyedDropout

Sources = frozenset[int]  # units

PASS = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Tanh, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, KeyedDropout,
)  # fmt: skip
PASS_NAMES = {
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "selu_", "gelu",
    "silu", "mish", "hardswish", "tanh", "tanh_", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "contiguous", "clone",
}  # fmt: skip
POOLS = {
    f"{kind}{axes}d": axes
    for kind in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")
    for axes in (1, 2, 3)
}
POOL_LAYERS: dict[type[nn.Module], int] = {
    getattr(nn, f"{kind}{axes}d"): axes
    for kind in ("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
    for axes in (1, 2, 3)
}


@dataclass(frozen=True)
class Flow:
    """The channels of an intermediate result.

    Attributes:
        channels: the units each channel is the sum of; None where unknown.
        axis: of the channels, counted from the last, -1.
        rank: how many axes there are, where known.
        spread: each channel has become several neighbours, a number that its reader tells.
    """

    channels: tuple[Sources, ...] | None = None
    axis: int = -1
    rank: int | None = None
    spread: bool = False

    @property
    def leads(self) -> bool:
        """Whether channels are the axis after the batch."""
        return self.channels is not None and self.rank == 1 - self.axis

    def filling(self, count: int) -> tuple[Sources, ...] | None:
        """The channels, each as often as makes `count`."""
        if not self.channels:
            return None
        times = count // len(self.channels) if self.spread else 1
        if times * len(self.channels) != count:
            return None
        return tuple(sources for sources in self.channels for _ in range(times))


def pooled(x: Flow, axes: int) -> Flow | None:
    """Maxima or means over windows of so many axes."""
    return x if x.leads and x.axis == -axes - 1 else None


def flattened(x: Flow) -> Flow | None:
    """Everything after the batch in one axis."""
    if x.channels is None:
        return Flow(rank=2)
    if not x.leads:
        return None
    return x if x.rank == 2 else Flow(x.channels, -1, 2, spread=True)


def averaged(x: Flow, dims: object, keep: object) -> Flow | None:
    """The mean over axes of space."""
    wanted = [dims] if isinstance(dims, int) else dims
    if not x.leads or x.rank is None or not isinstance(wanted, list | tuple):
        return None
    gone = {d % x.rank for d in wanted if isinstance(d, int)}
    if gone & {0, 1} or len(gone) != len(wanted):
        return None
    return x if keep else replace(x, axis=x.axis + len(gone), rank=x.rank - len(gone))


def added(x: Flow, y: Flow) -> Flow | None:
    """Channels added up."""
    if x.channels is None or y.channels is None or len(x.channels) != len(y.channels):
        return None
    if replace(x, channels=y.channels) != y:
        return None
    both = tuple(a | b for a, b in zip(x.channels, y.channels, strict=True))
    return replace(x, channels=both)


def concatenated(parts: Sequence[Flow], dim: object) -> Flow | None:
    """Channels side by side."""
    first = parts[0]
    alike = {(p.axis, p.rank, p.spread) for p in parts} == {(first.axis, first.rank, False)}
    if not alike or not (dim == first.axis or (first.leads and dim == 1)):
        return None
    channels: list[Sources] = []
    for part in parts:
        if part.channels is None:
            return None
        channels += part.channels
    return replace(first, channels=tuple(channels))
