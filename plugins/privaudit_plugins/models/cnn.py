"""A small convolutional network."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.models._norm import ABOUT_NORM, Norm, normalisation
from privaudit_plugins.models._shapes import image_shape


class CNN(privaudit.Model):
    """Two 3×3 convolutions with pooling and a linear layer, for small images."""

    name: Literal["cnn"] = "cnn"
    width: int = Field(
        16, ge=1, description="channels of the first convolution; the second has twice as many"
    )
    norm: Literal["none"] | Norm = Field("none", description=f"none: without; {ABOUT_NORM}")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Layers are named `conv1`, `conv2` and `output`.

        Raises:
            RecipeError: the examples are not images of at least 4×4 pixels.
        """
        channels, height, width = image_shape(self.name, shape, smallest=4)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, outputs in enumerate((self.width, 2 * self.width), start=1):
            # a normalisation has its own shift
            plain = self.norm == "none"
            layers[f"conv{number}"] = nn.Conv2d(channels, outputs, 3, padding=1, bias=plain)
            if self.norm != "none":
                layers[f"norm{number}"] = normalisation(self.norm, outputs)
            layers[f"relu{number}"] = nn.ReLU()
            layers[f"pool{number}"] = nn.MaxPool2d(2)
            channels = outputs
        layers["flatten"] = nn.Flatten()
        layers["output"] = nn.Linear(channels * (height // 4) * (width // 4), classes)
        return nn.Sequential(layers)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [CNN]
