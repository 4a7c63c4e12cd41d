"""VGG-16 with BatchNorm for CIFAR."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from pydantic import Field
from torch import Tensor, nn

import privaudit
from privaudit_plugins.models._init import ABOUT_INIT, Init, started
from privaudit_plugins.models._norm import ABOUT_NORM, Norm, normalisation
from privaudit_plugins.models._shapes import image_shape

_SEGMENTS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # (times the width, convolutions)


class VGG16Network(nn.Module):
    """The network that `vgg16_bn` builds.

    Attributes:
        segments: for each of the five segments, the dotted names of its convolutions; the very
            first convolution, which reads the image, belongs to none.
    """

    def __init__(
        self, channels: int, classes: int, width: int, norm: Norm, hidden: int | None
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        segments = []
        for segment, (factor, convolutions) in enumerate(_SEGMENTS, start=1):
            names = []
            for number in range(1, convolutions + 1):
                place, outputs = f"{segment}_{number}", factor * width
                conv = nn.Conv2d(channels, outputs, 3, padding=1)
                self.features.add_module(f"conv{place}", conv)
                self.features.add_module(f"norm{place}", normalisation(norm, outputs))
                self.features.add_module(f"relu{place}", nn.ReLU())
                names.append(f"features.conv{place}")
                channels = outputs
            # rounding up leaves images smaller than 32×32 their last pixel
            self.features.add_module(f"pool{segment}", nn.MaxPool2d(2, ceil_mode=True))
            segments.append(tuple(names))
        self.hidden = None if hidden is None else _hidden(channels, hidden)
        self.output = nn.Linear(hidden or channels, classes)
        self.segments = (segments[0][1:], *segments[1:])

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, channels, H, W) to logits (B, classes)."""
        x = self.features(x).mean((2, 3))
        return cast(Tensor, self.output(x if self.hidden is None else self.hidden(x)))


def _hidden(inputs: int, width: int) -> nn.Sequential:
    """Two hidden layers with dropout."""
    layers: list[nn.Module] = []
    for below in (inputs, width):
        layers += [nn.Linear(below, width), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers)


class VGG16(privaudit.Model):
    """VGG-16 for CIFAR with one linear layer: 14,728,266 parameters at 10 classes.

    Its 13 convolutions, their biases included, are those of configuration D; BatchNorm follows
    each. Of the 1×1 pixel that a 32×32 image shrinks to, one linear layer reads the class, instead
    of ImageNet's three. Yuan & Zhang 2022 have `head: hidden`, 33,646,666 parameters, and
    `init: xavier_normal`.
    """

    paper: ClassVar[str] = (
        "Simonyan & Zisserman 2015, Very deep convolutional networks for large-scale image "
        "recognition, table 1, configuration D; BatchNorm: Ioffe & Szegedy 2015"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "BatchNorm follows each convolution, and one linear layer reads the class, where the "
        "paper has no BatchNorm and three linear layers, which are for the larger images of "
        "ImageNet; `head: hidden` has three, the first of which reads one pixel, not 7×7.",
        "Weights start as PyTorch's layers start by default, or as Yuan & Zhang's do.",
    )
    name: Literal["vgg16_bn"] = "vgg16_bn"
    width: int = Field(
        64, ge=1, description="channels of the first of five segments; the others have 2, 4, 8, 8×"
    )
    norm: Norm = Field("batch", description=ABOUT_NORM)
    head: Literal["linear", "hidden"] = Field(
        "linear",
        description="linear: one linear layer; hidden: two hidden layers before it, 64 × width "
        "units each, with ReLU and dropout of one half",
    )
    init: Init = Field("torch", description=ABOUT_INIT)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Weights start as `init` says.

        Raises:
            RecipeError: the examples are not images.
        """
        channels, _, _ = image_shape(self.name, shape)
        hidden = 64 * self.width if self.head == "hidden" else None
        network = VGG16Network(channels, classes, self.width, self.norm, hidden)
        return started(network, self.init)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [VGG16]
