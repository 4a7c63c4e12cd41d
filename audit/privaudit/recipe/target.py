"""The options of a recipe's `target`: a network that was trained elsewhere."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    WrapValidator,
    model_serializer,
)

from privaudit.api.plugin import Dataset
from privaudit.messages import show
from privaudit.readers.file_path import with_folders

WEIGHTS = ".safetensors"
SAVED = (".pt", ".pth", ".ckpt", ".bin")
PROGRAMS = (".pt2", ".ts", ".torchscript")


def _readable(path: str) -> str:
    if PurePath(path).suffix in (WEIGHTS, *SAVED, *PROGRAMS):
        return path
    raise ValueError(
        f"must end in {', '.join((WEIGHTS, *SAVED))} (weights of the recipe's model), "
        f"or {', '.join(PROGRAMS)} (a program) (got {show(path)})"
    )


Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class MeanStd(BaseModel):
    """What a target's training subtracted from its inputs, and then divided them by.

    Of images, one number for each channel, or one for all; of uint8 images in units of x / 255,
    as `torchvision.transforms.Normalize` after `ToTensor` has them. Of other examples, one number
    for each feature, or one for all, in the examples' own units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[FiniteFloat, ...] = Field(min_length=1, description="subtracted first")
    std: tuple[Annotated[FiniteFloat, Field(gt=0)], ...] = Field(
        min_length=1, description="divides what is left"
    )


class TargetAccuracy(BaseModel):
    """The shares of examples, 0 to 1, that a target classifies rightly where it is at home."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: Share | None = Field(None, description="of its members")
    non_members: Share | None = Field(None, description="of its non-members")


class TargetOptions(BaseModel):
    """A network that was trained elsewhere, and what it was and was not trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: Annotated[str, AfterValidator(_readable), WrapValidator(with_folders)] = Field(
        description="the file, relative to the recipe's folder, else to the current one: all "
        "weights and buffers of `model`, as .safetensors, or as torch.save writes a state dict "
        "(.pt, .pth, .ckpt, .bin), bare or among other things; or a program, which you must trust, "
        "though nothing in it is unpickled: torch.export (.pt2) or TorchScript (.pt, .ts, "
        ".torchscript), saved after .eval(), without a final softmax, for batches of any size"
    )
    members: SerializeAsAny[Dataset] = Field(description="examples it was trained on")
    non_members: SerializeAsAny[Dataset] = Field(
        description="examples of the same kind that it was not trained on"
    )

    dense: Annotated[str, AfterValidator(_readable), WrapValidator(with_folders)] | None = Field(
        None,
        description="the dense network that it was made sparse from, a file like `checkpoint`: it "
        "is audited beside it, and attacks such as both_networks see both",
    )
    normalise: Literal["dataset", "imagenet", "none", "unit"] | MeanStd | None = Field(
        None,
        description="how its inputs were normalised: unit (x / 255, ToTensor alone), imagenet "
        "(ToTensor, then ImageNet's mean and std), mean and std (of images with pixels 0 to 255 in "
        "units of x / 255, as Normalize after ToTensor has them), none (as they are), or dataset "
        "(as `dataset` of this recipe is); what the file says if not given, as those of privaudit "
        "do; else required for images, and dataset for all other examples",
    )
    accuracy: Share | TargetAccuracy | None = Field(
        None,
        description="what it should reach on its members, 0 to 1, or members and non_members: "
        "a run that sees something else stops",
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not said is not written, as before it could be said."""
        data: dict[str, Any] = dump(self)
        return {key: value for key, value in data.items() if value is not None}

    @property
    def expected(self) -> TargetAccuracy:
        """What it should reach, None where that is not said."""
        if isinstance(self.accuracy, TargetAccuracy):
            return self.accuracy
        return TargetAccuracy(members=self.accuracy)

    @property
    def opaque(self) -> bool:
        """Whether a file's name says that it is a program, whose weights are in its code.

        A .pt may be one as well: only its content tells.
        """
        files = [self.checkpoint, *([] if self.dense is None else [self.dense])]
        return any(PurePath(file).suffix in PROGRAMS for file in files)
