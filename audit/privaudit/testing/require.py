"""How a check says what is wrong."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import torch
from torch import Tensor

OTHER_WEIGHTS = (
    "leaves other weights when it is run again, as one does that draws from a generator that all "
    "models share: draw for each model with its own, `torch.Generator().manual_seed(seed)` for "
    "each seed of `cohort.seeds`"
)


def require(condition: object, message: str) -> None:
    """Raise an AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def same(one: object, other: object) -> bool:
    """Whether two values are equal, tensor by tensor, where NaN equals NaN."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(
            torch.nan_to_num(one.double(), nan=1e300), torch.nan_to_num(other.double(), nan=1e300)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if is_dataclass(one) and type(one) is type(other):
        return same(_held(one), _held(other))
    return one == other


def _held(value: object) -> dict[str, object]:
    """A dataclass's fields, without those it leaves out, as outputs do with logits."""
    return {f.name: vars(value)[f.name] for f in fields(value) if f.name in vars(value)}  # type: ignore[arg-type]
