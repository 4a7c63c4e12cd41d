"""ResNet-20 for CIFAR."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.models._norm import ABOUT_NORM, Norm
from privaudit_plugins.models._residual import ResidualNetwork
from privaudit_plugins.models._shapes import image_shape


class ResNet20(privaudit.Model):
    """ResNet-20 for CIFAR with projection shortcuts: 272,474 parameters at 10 classes."""

    paper: ClassVar[str] = (
        "He et al. 2016, Deep residual learning for image recognition, section 4.2; "
        "shortcuts by option B, as Gonon et al. 2023 count them"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Shortcuts that change the size are projections (option B), where the paper's for "
        "CIFAR have no weights (option A): so Gonon et al. count 272,474 parameters.",
        "Weights start as PyTorch's layers start by default, as by Gonon et al., not by the "
        "paper's normal distribution.",
    )
    name: Literal["resnet20"] = "resnet20"
    norm: Norm = Field("batch", description=ABOUT_NORM)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Weights start as PyTorch's layers start by default.

        Raises:
            RecipeError: the examples are not images.
        """
        channels, _, _ = image_shape(self.name, shape)
        return ResidualNetwork(channels, classes, widths=(16, 32, 64), blocks=3, norm=self.norm)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ResNet20]
