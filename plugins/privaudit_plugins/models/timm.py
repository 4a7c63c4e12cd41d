"""The networks of timm, PyTorch Image Models."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from torch import nn

import privaudit
from privaudit_plugins.models._borrowed import said, tried
from privaudit_plugins.models._shapes import image_shape

_LACKING = "needs timm, which is not installed: pip install 'privaudit[timm]'"
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Timm(privaudit.Model):
    """Any network of timm, as timm builds it for the dataset's channels and classes.

    Weights start at random, unless `pretrained` asks for those of one revision on the Hugging Face
    Hub, which every network then starts from, targets and shadows; its last layer is drawn.
    """

    paper: ClassVar[str] = "Wightman 2019, PyTorch image models"
    short_form: ClassVar[str] = "architecture"

    name: Literal["timm"] = "timm"
    architecture: str = Field(
        description="its name in timm.list_models, such as resnet18, or with the tag of its "
        "weights, resnet18.a1_in1k"
    )
    pretrained: bool = Field(
        False, description="start from published weights, which are downloaded where they are not"
    )
    revision: str | None = Field(
        None, description="of the published weights: a commit, 40 hex digits; with pretrained"
    )

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            import timm
        except ImportError as error:
            raise ValueError(_LACKING) from error
        if "/" not in value and ":" not in value and timm.is_model(value):
            return value
        near = get_close_matches(value, timm.list_models(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see timm.list_models"
        raise ValueError(f"must be a network of timm (got {value[:60]!r}); {hint}")

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.pretrained and not _COMMIT.fullmatch(self.revision or ""):
            raise ValueError(
                "pretrained needs a revision, the commit of the weights in 40 hex digits: what a "
                "name stands for may change"
            )
        if self.revision is not None and not self.pretrained:
            raise ValueError("revision says nothing without pretrained: leave it out")
        return self

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Raises:
            DataError: published weights cannot be had.
            RecipeError: timm is missing, or the examples are not images, or of a size that the
                network does not take.
        """
        called = f"timm:{self.architecture}"
        channels, height, width = image_shape(called, shape)
        try:
            import timm
        except ImportError as error:
            raise privaudit.RecipeError(f"model {called} {_LACKING}") from error
        options: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
        overlay = self._overlay(timm.get_pretrained_cfg(self.architecture), called)
        sized = {"img_size": (height, width)}
        for more in (sized, {}):  # transformers are built for one size, and others know no such key
            try:
                network = self._created(timm, options | more, overlay)
                return tried(network, called, shape, classes)
            except TypeError as error:
                if more and "img_size" in str(error):
                    continue
                raise
            except OSError as error:
                raise privaudit.DataError(
                    f"model {called}: its published weights cannot be had: {said(error)}"
                ) from error
            except (AssertionError, ValueError) as error:
                raise privaudit.RecipeError(
                    f"model {called} takes no images of {height}×{width} pixels: {said(error)}"
                ) from error
        raise AssertionError("one of the two returns or raises")

    def _created(self, timm: Any, options: dict[str, Any], overlay: dict[str, Any]) -> nn.Module:
        network: nn.Module = timm.create_model(
            self.architecture,
            pretrained=self.pretrained,
            pretrained_cfg_overlay=overlay or None,
            **options,
        )
        return network

    def _overlay(self, published: Any, called: str) -> dict[str, Any]:
        """Where the weights of one revision are, and nothing else that could be taken."""
        if not self.pretrained:
            return {}
        where = getattr(published, "hf_hub_id", None)
        if not where:
            raise privaudit.RecipeError(
                f"model {called} has no weights on the Hugging Face Hub, so no revision of them"
            )
        if where.endswith("/"):
            tag = f".{published.tag}" if published.tag else ""
            where = f"{where}{published.architecture}{tag}"
        return {
            "hf_hub_id": f"{where}@{self.revision}",
            "hf_hub_filename": "model.safetensors",
            "url": "",
            "file": None,
        }


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Timm]
