"""The options of a recipe's `split`: who is in whose training data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from privaudit.messages import show


def _amount(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if whole or (isinstance(value, float) and 0 <= value < 1):
        return value
    raise ValueError(
        f"must be a count (0, 1, 2, ...) or a share (0.0 to below 1.0) (got {show(value)})"
    )


Amount = Annotated[int | float, BeforeValidator(_amount), Field(ge=0)]


class CanaryOptions(BaseModel):
    """Examples made up for the audit, which is then about them alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=10, description="how many of the dataset's examples become canaries")
    kind: Literal["mislabelled", "blank"] = Field(
        "mislabelled", description="under a wrong class; or blank but for a few numbers"
    )


def _canaries(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {"count": value} if whole else value


class SplitOptions(BaseModel):
    """How the examples are dealt out to the target and its shadows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["disjoint", "halves"] = Field(
        "disjoint",
        description="disjoint: target and shadows have pools of their own (Shokri et al. 2017); "
        "halves: each model trains on half of all examples (Carlini et al. 2022)",
    )
    members: int | None = Field(
        None, ge=1, description="members of each model; as many as there are if not given"
    )
    non_members: int | None = Field(
        None, ge=1, description="non-members of each model; as many as there are if not given"
    )
    validation: Amount = Field(
        0.1, description="members set aside to choose the best epoch: a count, or a share"
    )
    reference: Amount = Field(
        0, description="non-members that a defense may train with: a count, or a share"
    )
    targets: Literal[1, "all"] = Field(
        1, description="attack one model, or with halves every model in turn"
    )
    canaries: Annotated[CanaryOptions | None, BeforeValidator(_canaries)] = Field(
        None,
        description="how many examples become canaries, each a member of each model by a coin of "
        "its own; the audit is about them alone",
    )
    seed: int | None = Field(
        None, ge=0, description="one split for all seeds; if not given, each seed draws its own"
    )

    @model_serializer(mode="wrap")
    def _without_canaries(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where there are none, a split is written as it was before there could be any."""
        data: dict[str, Any] = dump(self)
        if self.canaries is None:
            data.pop("canaries", None)
        return data
