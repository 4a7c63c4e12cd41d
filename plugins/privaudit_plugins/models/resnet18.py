"""ResNet-18 for CIFAR."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.models._norm import ABOUT_NORM, Norm
from privaudit_plugins.models._residual import ResidualNetwork
from privaudit_plugins.models._shapes import image_shape


class ResNet18(privaudit.Model):
    """ResNet-18 with the stem for CIFAR: 11,173,962 parameters at 10 classes.

    The stem is a 3×3 convolution of stride 1 without pooling, instead of ImageNet's 7×7 of stride
    2 with pooling; the rest is as published.
    """

    paper: ClassVar[str] = (
        "He et al. 2016, Deep residual learning for image recognition, table 1; "
        "with the stem for CIFAR"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The stem is a 3×3 convolution of stride 1 without pooling, for images of 32×32 "
        "pixels, where the paper's, for ImageNet, is 7×7 of stride 2 with pooling, and Yuan & "
        "Zhang's pools, too.",
        "Weights start as PyTorch's layers start by default, not by the paper's normal "
        "distribution.",
    )
    name: Literal["resnet18"] = "resnet18"
    width: int = Field(
        64, ge=1, description="channels of the first of four segments; each next has twice as many"
    )
    norm: Norm = Field("batch", description=ABOUT_NORM)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Weights start as PyTorch's layers start by default.

        Raises:
            RecipeError: the examples are not images.
        """
        channels, _, _ = image_shape(self.name, shape)
        widths = [self.width * 2**segment for segment in range(4)]
        return ResidualNetwork(channels, classes, widths, blocks=2, norm=self.norm)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ResNet18]
