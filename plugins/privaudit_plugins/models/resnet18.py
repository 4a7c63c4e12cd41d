"""ResNet-18 for CIFAR."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.models._init import ABOUT_INIT, Init, started
from privaudit_plugins.models._norm import ABOUT_NORM, Norm
from privaudit_plugins.models._residual import ResidualNetwork
from privaudit_plugins.models._shapes import image_shape


class ResNet18(privaudit.Model):
    """ResNet-18 with the stem for CIFAR: 11,173,962 parameters at 10 classes.

    The stem is a 3×3 convolution of stride 1 without pooling, instead of ImageNet's 7×7 of stride
    2 with pooling; the rest is as published. Yuan & Zhang 2022 have `stem: 3x3_pooled` and `init:
    xavier_normal`.
    """

    paper: ClassVar[str] = (
        "He et al. 2016, Deep residual learning for image recognition, table 1; "
        "with the stem for CIFAR"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The stem is a 3×3 convolution of stride 1, without pooling unless asked for, for images "
        "of 32×32 pixels, where the paper's, for ImageNet, is 7×7 of stride 2 with pooling.",
        "Weights start as PyTorch's layers start by default, or as Yuan & Zhang's do, not by the "
        "paper's normal distribution.",
    )
    name: Literal["resnet18"] = "resnet18"
    width: int = Field(
        64, ge=1, description="channels of the first of four segments; each next has twice as many"
    )
    norm: Norm = Field("batch", description=ABOUT_NORM)
    stem: Literal["3x3", "3x3_pooled"] = Field(
        "3x3",
        description="a 3×3 convolution of stride 1; 3x3_pooled: and a 3×3 max-pool of stride 2, so "
        "that an image of 32×32 pixels becomes maps of 16×16",
    )
    init: Init = Field("torch", description=ABOUT_INIT)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Weights start as `init` says.

        Raises:
            RecipeError: the examples are not images.
        """
        channels, _, _ = image_shape(self.name, shape)
        widths = [self.width * 2**segment for segment in range(4)]
        pooled = self.stem == "3x3_pooled"
        network = ResidualNetwork(channels, classes, widths, 2, self.norm, pooled)
        return started(network, self.init)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ResNet18]
