"""The classifiers of torchvision."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator
from torch import nn

import privaudit
from privaudit_plugins.models._borrowed import said, tried, with_channels
from privaudit_plugins.models._shapes import image_shape

_AUXILIARY = ("googlenet", "inception_v3")  # have further outputs in training


class Torchvision(privaudit.Model):
    """Any classifier of torchvision.models, as torchvision builds it, without downloaded weights.

    The number of classes is the dataset's. The stem is torchvision's, for ImageNet's large images:
    images of 32×32 pixels are better read by `resnet18` and the like of privaudit's own. Images of
    other than three channels get a first convolution of as many. GoogLeNet and Inception v3 are
    built without their auxiliary classifiers, which only training has, and vision transformers for
    images of the dataset's size.
    """

    short_form: ClassVar[str] = "architecture"

    name: Literal["torchvision"] = "torchvision"
    architecture: str = Field(
        description="its name in torchvision.models.list_models, such as resnet18"
    )

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        known = architectures()
        if value in known:
            return value
        near = get_close_matches(value, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see torchvision.models.list_models"
        raise ValueError(f"must be a classifier of torchvision (got {value[:60]!r}); {hint}")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Raises:
            RecipeError: the examples are not images, or of a size that it does not take.
        """
        from torchvision.models import get_model

        called = f"torchvision:{self.architecture}"
        channels, height, width = image_shape(called, shape)
        options: dict[str, Any] = {}
        if self.architecture in _AUXILIARY:
            options |= {"aux_logits": False, "init_weights": True}
        if self.architecture.startswith("vit_"):
            if height != width:
                raise privaudit.RecipeError(
                    f"model {called} takes square images, and this dataset's have "
                    f"{height}×{width} pixels"
                )
            options["image_size"] = height
        try:
            network: nn.Module = get_model(
                self.architecture, weights=None, num_classes=classes, **options
            )
        except (AssertionError, ValueError) as error:
            raise privaudit.RecipeError(
                f"model {called} takes no images of {height}×{width} pixels: {said(error)}"
            ) from error
        return tried(with_channels(network, channels), called, shape, classes)


@lru_cache
def architectures() -> frozenset[str]:
    """The names of all classifiers; detectors, segmenters and quantised networks are others."""
    from torchvision import models

    return frozenset(models.list_models(module=models))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Torchvision]
