"""DenseNet-40 for CIFAR."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

import privaudit
from privaudit_plugins.models._norm import ABOUT_NORM, Norm, normalisation
from privaudit_plugins.models._shapes import image_shape

_STEM = 16  # channels of the first convolution
_BLOCKS = 3
_POOLINGS = 2  # between the blocks, each of 2×2 pixels


class DenseLayer(nn.Module):
    """Normalisation, ReLU and a 3×3 convolution, whose output joins the input's channels."""

    def __init__(self, inputs: int, growth: int, norm: Norm) -> None:
        super().__init__()
        self.norm = normalisation(norm, inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, inputs + growth, H, W)."""
        return torch.cat([x, self.conv(relu(self.norm(x)))], dim=1)


class Transition(nn.Module):
    """Normalisation, ReLU and a 1×1 convolution, which keep the channels, then pooling."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = normalisation(norm, channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, channels, H, W) to (B, channels, H / 2, W / 2)."""
        return avg_pool2d(self.conv(relu(self.norm(x))), 2)


class DenseNetwork(nn.Module):
    """The network that `densenet40` builds.

    Attributes:
        segments: for each of the three dense blocks, the dotted names of its convolutions.
    """

    def __init__(self, channels: int, classes: int, growth: int, layers: int, norm: Norm) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, _STEM, 3, padding=1, bias=False)
        self.features = nn.Sequential()
        segments = []
        width = _STEM
        for block in range(1, _BLOCKS + 1):
            names = [f"layer{block}_{number}" for number in range(1, layers + 1)]
            for name in names:
                self.features.add_module(name, DenseLayer(width, growth, norm))
                width += growth
            if block < _BLOCKS:
                self.features.add_module(f"transition{block}", Transition(width, norm))
            segments.append(tuple(f"features.{name}.conv" for name in names))
        self.norm = normalisation(norm, width)
        self.output = nn.Linear(width, classes)
        self.segments = tuple(segments)

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, channels, H, W) to logits (B, classes)."""
        x = relu(self.norm(self.features(self.stem(x))))
        return cast(Tensor, self.output(x.mean((2, 3))))


class DenseNet40(privaudit.Model):
    """DenseNet of depth 40 and growth 12: 1,019,722 parameters at 10 classes.

    The plain network, without bottleneck layers and without compression between the blocks.
    """

    paper: ClassVar[str] = (
        "Huang et al. 2017, Densely connected convolutional networks, section 3; "
        "table 2, DenseNet (k = 12), depth 40"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "There is no dropout, which the paper has for data without augmentation.",
        "Weights start as PyTorch's layers start by default, not by the paper's normal "
        "distribution.",
    )
    name: Literal["densenet40"] = "densenet40"
    growth: int = Field(12, ge=1, description="channels that each layer adds")
    depth: int = Field(40, ge=7, description="layers with weights: 4, and 3 blocks of equally many")
    norm: Norm = Field("batch", description=ABOUT_NORM)

    @model_validator(mode="after")
    def _blocks_are_equally_deep(self) -> Self:
        if (self.depth - 4) % _BLOCKS:
            raise ValueError(
                f"a DenseNet's depth is 4 more than a multiple of 3, such as 22 or 40, "
                f"not {self.depth}"
            )
        return self

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Weights start as PyTorch's layers start by default.

        Raises:
            RecipeError: the examples are not images of at least 4×4 pixels.
        """
        channels, _, _ = image_shape(self.name, shape, smallest=2**_POOLINGS)
        layers = (self.depth - 4) // _BLOCKS
        return DenseNetwork(channels, classes, self.growth, layers, self.norm)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [DenseNet40]
