"""The options of a recipe's `target`: a network that was trained elsewhere."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny

from privaudit.api.plugin import Dataset
from privaudit.messages import show

WEIGHTS = ".safetensors"
SCRIPTED = (".pt", ".ts", ".torchscript")
EXPORTED = ".pt2"


def _readable(path: str) -> str:
    if PurePath(path).suffix in (WEIGHTS, EXPORTED, *SCRIPTED):
        return path
    raise ValueError(
        f"must end in {WEIGHTS} (weights of the recipe's model), {EXPORTED} (torch.export), "
        f"or {', '.join(SCRIPTED)} (TorchScript) (got {show(path)})"
    )


class TargetOptions(BaseModel):
    """A network that was trained elsewhere, and what it was and was not trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: Annotated[str, AfterValidator(_readable)] = Field(
        description="the file, relative to the current folder: .safetensors with the weights of "
        "`model`; or a program, to be used only if trusted: .pt2 (torch.export), or .pt, .ts, "
        ".torchscript (TorchScript)"
    )
    members: SerializeAsAny[Dataset] = Field(description="examples it was trained on")
    non_members: SerializeAsAny[Dataset] = Field(
        description="examples of the same kind that it was not trained on"
    )

    @property
    def opaque(self) -> bool:
        """Whether the file is a program, whose weights cannot be told apart from its code."""
        return PurePath(self.checkpoint).suffix != WEIGHTS
