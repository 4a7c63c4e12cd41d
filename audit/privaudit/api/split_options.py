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


def _size(value: object) -> object:
    """A number of examples, or a share of them."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        fits = value is None
    else:
        fits = 0 < value < 1 or (value >= 1 and value == value // 1)
    if not fits:
        raise ValueError(
            "must be a count (1, 2, ...), or with protocol coin a share between 0.0 and 1.0 "
            f"(got {show(value)})"
        )
    return int(value) if isinstance(value, float) and value >= 1 else value


Size = Annotated[int | float, BeforeValidator(_size), Field(gt=0)]


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

    protocol: Literal["disjoint", "halves", "coin"] = Field(
        "disjoint",
        description="disjoint: target and shadows have pools of their own (Shokri et al. 2017); "
        "halves: each model trains on half of all examples (Carlini et al. 2022); coin: each "
        "example is in each model's training data with the chance `members`, whatever others are",
    )
    members: Size | None = Field(
        None,
        description="members of each model; as many as there are if not given. With coin a share, "
        "0.5 if not given, or how many are expected among members + non_members examples",
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
        1, description="attack one model, or with halves or coin every model in turn"
    )
    canaries: Annotated[CanaryOptions | None, BeforeValidator(_canaries)] = Field(
        None,
        description="how many examples are made up to be remembered, or how many and of which "
        "kind; each is a member of each model by a coin of its own, and attacks are about them "
        "alone",
    )
    seed: int | None = Field(
        None, ge=0, description="one split for all seeds; if not given, each seed draws its own"
    )

    @property
    def chance(self) -> float:
        """With the protocol coin, the chance of an audited example to be a member."""
        if self.members is None or self.members < 1:
            return self.members or 0.5
        return self.members / (self.members + (self.non_members or self.members))

    @model_serializer(mode="wrap")
    def _without_canaries(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where there are none, a split is written as it was before there could be any."""
        data: dict[str, Any] = dump(self)
        if self.canaries is None:
            data.pop("canaries", None)
        return data
