"""Arrays from anywhere, checked: shapes, kinds, and that every number can be audited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from privaudit.errors import DataError
from privaudit.outputs.convert import as_tensor, flags, whole


@dataclass(frozen=True)
class Answers:
    """What a target and K shadows answer about N examples, and who was trained on what.

    Attributes:
        logits: (Q, N, C) float32 or float64: query 0 is the example itself.
        labels: (N,) int64.
        members: (N,) bool; of no meaning where `audited` is False.
        audited: (N,) bool.
        shadow_logits: (K, Q, N, C); K is 0 where none are given.
        shadow_members: (K, N) bool.
        x: (N, ...) uint8 or float32; (N, 0) where the examples are not given.
    """

    logits: Tensor
    labels: Tensor
    members: Tensor
    audited: Tensor
    shadow_logits: Tensor
    shadow_members: Tensor
    x: Tensor


def read_answers(
    logits: Any,
    labels: Any,
    members: Any,
    shadow_logits: Any = None,
    shadow_members: Any = None,
    audited: Any = None,
    x: Any = None,
) -> Answers:
    """Check the arrays of `audit_outputs`, and give each the shape and type that attacks expect.

    Raises:
        DataError: one line that names the array, and the row or the shapes.
    """
    target = _target(logits)
    count, classes = target.shape[1:]
    y = whole(_sized(as_tensor(labels, "labels"), "labels", target), "labels")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        row = int(((y < 0) | (y >= classes)).nonzero()[0])
        raise DataError(
            f"labels must be from 0 to {classes - 1}, as logits have {classes} classes: "
            f"row {row} is {int(y[row])}"
        )
    chosen = torch.ones(count, dtype=torch.bool)
    if audited is not None:
        chosen = flags(_sized(as_tensor(audited, "audited"), "audited", target), "audited")
    inside = _membership(_sized(as_tensor(members, "members"), "members", target), chosen)
    shadows, shadow_inside = _shadows(shadow_logits, shadow_members, target)
    examples = torch.empty(count, 0)
    if x is not None:
        examples = _examples(as_tensor(x, "x"), target)
    _check_finite(target[None], "logits")
    _check_finite(shadows, "shadow_logits")
    return Answers(target, y, inside, chosen, shadows, shadow_inside, examples)


def _target(logits: Any) -> Tensor:
    """The target's logits as (Q, N, C)."""
    tensor = _real(as_tensor(logits, "logits"), "logits")
    if tensor.ndim not in (2, 3):
        raise DataError(f"logits must be (N, C) or (Q, N, C), got shape {tuple(tensor.shape)}")
    if 0 in tensor.shape:
        raise DataError(f"logits are empty: shape {tuple(tensor.shape)}")
    if tensor.shape[-1] < 2:
        raise DataError(
            f"logits must have at least 2 classes in their last axis, got shape "
            f"{tuple(tensor.shape)}; of a binary network with one output z give 0 and z"
        )
    return tensor if tensor.ndim == 3 else tensor[None]


def _real(tensor: Tensor, name: str) -> Tensor:
    """Numbers as float32 or float64, whichever holds them exactly."""
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise DataError(f"{name} must be real numbers, got {str(tensor.dtype)[6:]}")
    return tensor.float() if tensor.is_floating_point() else tensor.double()


def _sized(tensor: Tensor, name: str, logits: Tensor) -> Tensor:
    """An array that must have one entry for each example."""
    if tensor.shape != logits.shape[1:2]:
        raise DataError(
            f"{name} must have one entry for each row of logits: {name} have shape "
            f"{tuple(tensor.shape)}, logits {_shape(logits)}"
        )
    return tensor


def _membership(members: Tensor, audited: Tensor) -> Tensor:
    """Who of the audited rows is a member; the rest may say anything."""
    if not bool(audited.any()):
        raise DataError("audited is false everywhere: some rows must be audited")
    inside = flags(torch.where(audited, members, torch.zeros_like(members)), "members")
    count, total = int(inside.sum()), int(audited.sum())
    if count in (0, total):
        side = "non-members" if count == 0 else "members"
        raise DataError(
            f"members: all {total} audited rows are {side}, and an attack is measured on both: "
            "give some of each"
        )
    return inside


def _shadows(logits: Any, members: Any, target: Tensor) -> tuple[Tensor, Tensor]:
    """The shadows' logits (K, Q, N, C) and membership (K, N)."""
    if logits is None and members is None:
        return target.new_empty((0, *target.shape)), torch.empty(0, target.shape[1]).bool()
    if logits is None or members is None:
        given, lacking = ("shadow_members", "shadow_logits")[:: 1 if logits is None else -1]
        raise DataError(f"{given} are given without {lacking}: give both or neither")
    shadows = _real(as_tensor(logits, "shadow_logits"), "shadow_logits")
    given_shape = tuple(shadows.shape)
    if shadows.ndim == 3 and len(target) == 1:
        shadows = shadows[:, None]
    if shadows.ndim != 4 or len(shadows) == 0 or shadows.shape[1:] != target.shape:
        expected = ", ".join(map(str, ("K", *_shape(target))))
        raise DataError(
            f"shadow_logits must be the answers of K networks to what the target was asked, "
            f"({expected}): shadow_logits have shape {given_shape}, logits {_shape(target)}"
        )
    inside = as_tensor(members, "shadow_members")
    if tuple(inside.shape) != (len(shadows), target.shape[1]):
        raise DataError(
            f"shadow_members must be (K, N) for the networks and rows of shadow_logits: "
            f"shadow_members have shape {tuple(inside.shape)}, shadow_logits {given_shape}"
        )
    return shadows, flags(inside, "shadow_members")


def _examples(examples: Tensor, target: Tensor) -> Tensor:
    """The examples as a dataset would hold them."""
    if examples.ndim < 2 or len(examples) != target.shape[1] or examples.numel() == 0:
        raise DataError(
            f"x must have one example for each row of logits, (N, ...): x has shape "
            f"{tuple(examples.shape)}, logits {_shape(target)}"
        )
    if examples.dtype == torch.uint8:
        return examples
    examples = _real(examples, "x").float()
    lost = (~torch.isfinite(examples.flatten(1)).all(1)).nonzero()
    if len(lost):
        raise DataError(f"x holds NaN or infinity in row {int(lost[0])}")
    return examples


def _check_finite(logits: Tensor, name: str) -> None:
    """Refuse NaN and infinity in logits (M, Q, N, C), naming where the first one stands."""
    for model, queries in enumerate(logits):  # one by one: a mask of all would be a copy of all
        if bool(torch.isfinite(queries).all()):
            continue
        query, row, _ = (~torch.isfinite(queries)).nonzero()[0].tolist()
        value = "NaN" if bool(queries[query, row].isnan().any()) else "infinity"
        places = [f"model {model}"] if name == "shadow_logits" else []
        places += [f"query {query}"] if len(queries) > 1 else []
        raise DataError(f"{name} hold {value} in {', '.join([*places, f'row {row}'])}")


def _shape(logits: Tensor) -> tuple[int, ...]:
    """The shape of logits (Q, N, C) as the caller most likely gave them."""
    return tuple(logits.shape[1:] if len(logits) == 1 else logits.shape)
