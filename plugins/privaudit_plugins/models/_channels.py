"""Networks for colour images, given images of other channels."""

from __future__ import annotations

from torch import nn


def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """The network, whose first convolution reads so many channels; itself where it does already."""
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.in_channels == channels:
            return network
        fitting = nn.Conv2d(
            channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=layer.bias is not None,
        )
        network.set_submodule(name, fitting)
        return network
    return network
