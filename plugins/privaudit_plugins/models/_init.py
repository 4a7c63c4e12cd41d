"""How the weights of convolutions and linear layers start."""

from __future__ import annotations

from typing import Literal

from torch import nn

Init = Literal["torch", "xavier_normal"]

ABOUT_INIT = (
    "of convolutions and linear layers; torch: as PyTorch's layers start; xavier_normal: weights "
    "from Glorot & Bengio's normal distribution and biases at zero, as Yuan & Zhang 2022 start"
)


def started(network: nn.Module, init: Init) -> nn.Module:
    """The network, whose convolutions and linear layers start so."""
    if init == "xavier_normal":
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network
