"""Arrays from anywhere, checked: shapes, kinds, and that every number can be audited."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from privaudit.doubts.digits import coarseness
from privaudit.doubts.numbers import log_probabilities, looks_like
from privaudit.errors import DataError
from privaudit.outputs.convert import as_tensor, flags, places, whole
from privaudit.outputs.kinds import Kind, as_logits, check_kind

NOISE_SCALE = 1e-3
"""ε of noisy copies where it is not said, as of a run's own."""


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
        noisy: (1 + K, D, N, C), the answers of the target and then of the shadows to D noisy
            copies of each example; None where they are not given.
        noise_scale: ε of the noisy copies.
        kind: what the numbers were given as.
        seeming: what the numbers of each network look like instead, the target first: keys of
            `privaudit.doubts.numbers.MEANINGS`, or None.
        coarse: in which words the numbers of each network were made coarser; often empty.
        ids: (N,) int64: rows with the same number are the same example; None where that is not
            known.
    """

    logits: Tensor
    labels: Tensor
    members: Tensor
    audited: Tensor
    shadow_logits: Tensor
    shadow_members: Tensor
    x: Tensor
    noisy: Tensor | None = None
    noise_scale: float = NOISE_SCALE
    kind: Kind = "logits"
    seeming: tuple[str | None, ...] = ()
    coarse: tuple[str, ...] = ()
    ids: Tensor | None = None


def read_answers(
    logits: Any,
    labels: Any,
    members: Any,
    shadow_logits: Any = None,
    shadow_members: Any = None,
    audited: Any = None,
    x: Any = None,
    kind: str = "logits",
    noisy: Any = None,
    shadow_noisy: Any = None,
    noise_scale: float | None = None,
    ids: Any = None,
) -> Answers:
    """Check the arrays of `audit_outputs`, and give each the shape and type that attacks expect.

    Raises:
        DataError: one line that names the array, and the row or the shapes.
    """
    what = check_kind(kind)
    target = _target(logits, what)
    count, classes = target.shape[1], 2 if what == "margins" else target.shape[-1]
    y = whole(_sized(as_tensor(labels, "labels"), "labels", target, what), "labels")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        row = int(((y < 0) | (y >= classes)).nonzero()[0])
        raise DataError(
            f"labels must be from 0 to {classes - 1}, as {what} have {classes} classes: "
            f"row {row} is {int(y[row])}"
        )
    chosen = torch.ones(count, dtype=torch.bool)
    if audited is not None:
        chosen = flags(_sized(as_tensor(audited, "audited"), "audited", target, what), "audited")
    inside = _membership(_sized(as_tensor(members, "members"), "members", target, what), chosen)
    shadows, shadow_inside = _shadows(shadow_logits, shadow_members, target, what)
    examples = torch.empty(count, 0)
    if x is not None:
        examples = _examples(as_tensor(x, "x"), target, what)
    answers = (
        as_logits(target, what, what),
        y,
        inside,
        chosen,
        as_logits(shadows, what, f"shadow_{what}"),
        shadow_inside,
        examples,
    )
    networks = [target, *shadows]
    copies = _noisy(noisy, shadow_noisy, target, len(shadows), what)
    return Answers(
        *answers,
        noisy=copies,
        noise_scale=_scale(noise_scale),
        kind=what,
        seeming=tuple(_seeming(numbers, what) for numbers in networks),
        coarse=tuple(coarseness(numbers, _meaning(numbers, what)) for numbers in networks),
        ids=None if ids is None else _sized(as_tensor(places(ids), "ids"), "ids", target, what),
    )


def _seeming(numbers: Tensor, kind: Kind) -> str | None:
    """What checked numbers look like instead; the sums of probabilities have spoken already."""
    if kind == "margins":  # beside themselves, numbers from 0 to 1 still show as such
        return looks_like(torch.cat([numbers, numbers], dim=-1))
    return looks_like(numbers) if kind == "logits" else None


def _meaning(numbers: Tensor, kind: Kind) -> Kind:
    """The kind, or log-probabilities where logits are these as well."""
    return "log_probabilities" if kind == "logits" and log_probabilities(numbers) else kind


def _target(logits: Any, kind: Kind) -> Tensor:
    """The target's answers as (Q, N, C), or of margins (Q, N, 1)."""
    tensor = _real(as_tensor(logits, kind), kind)
    if kind == "margins":
        return _margins(tensor)
    if tensor.ndim not in (2, 3):
        raise DataError(f"{kind} must be (N, C) or (Q, N, C), got shape {tuple(tensor.shape)}")
    if 0 in tensor.shape:
        raise DataError(f"{kind} are empty: shape {tuple(tensor.shape)}")
    if tensor.shape[-1] < 2:
        two = "1 - p and p" if kind == "probabilities" else "0 and z, or say kind=margins"
        raise DataError(
            f"{kind} must have at least 2 classes in their last axis, got shape "
            f"{tuple(tensor.shape)}; of a binary network with one output give {two}"
        )
    return tensor if tensor.ndim == 3 else tensor[None]


def _margins(tensor: Tensor) -> Tensor:
    """The log-odds of class 1 against class 0 as (Q, N, 1)."""
    if tensor.ndim == 1:
        tensor = tensor[:, None]
    if tensor.ndim not in (2, 3) or tensor.shape[-1] != 1 or 0 in tensor.shape:
        raise DataError(
            "margins must be one number for each example, (N,), (N, 1) or (Q, N, 1): the log-odds "
            f"of class 1 against class 0; got shape {tuple(tensor.shape)}"
        )
    return tensor if tensor.ndim == 3 else tensor[None]


def _real(tensor: Tensor, name: str) -> Tensor:
    """Numbers as float32 or float64, whichever holds them exactly."""
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise DataError(f"{name} must be real numbers, got {str(tensor.dtype)[6:]}")
    return tensor.float() if tensor.is_floating_point() else tensor.double()


def _sized(tensor: Tensor, name: str, target: Tensor, kind: Kind) -> Tensor:
    """An array that must have one entry for each example."""
    if tensor.shape != target.shape[1:2]:
        raise DataError(
            f"{name} must have one entry for each row of {kind}: {name} have shape "
            f"{tuple(tensor.shape)}, {kind} {_shape(target)}"
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


def _shadows(answers: Any, members: Any, target: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """The shadows' answers (K, Q, N, C) and membership (K, N)."""
    name = f"shadow_{kind}"
    if answers is None and members is None:
        return target.new_empty((0, *target.shape)), torch.empty(0, target.shape[1]).bool()
    if answers is None or members is None:
        present, lacking = ("shadow_members", name)[:: 1 if answers is None else -1]
        raise DataError(f"{present} are given without {lacking}: give both or neither")
    shadows = _real(as_tensor(answers, name), name)
    shape = tuple(shadows.shape)
    if kind == "margins" and shadows.ndim == 2:
        shadows = shadows[..., None]
    if shadows.ndim == 3 and len(target) == 1:
        shadows = shadows[:, None]
    if shadows.ndim != 4 or len(shadows) == 0 or shadows.shape[1:] != target.shape:
        expected = ", ".join(map(str, ("K", *_shape(target))))
        raise DataError(
            f"{name} must be the answers of K networks to what the target was asked, "
            f"({expected}): {name} have shape {shape}, {kind} {_shape(target)}"
        )
    inside = as_tensor(members, "shadow_members")
    if tuple(inside.shape) != (len(shadows), target.shape[1]):
        raise DataError(
            f"shadow_members must be (K, N) for the networks and rows of {name}: "
            f"shadow_members have shape {tuple(inside.shape)}, {name} {shape}"
        )
    return shadows, flags(inside, "shadow_members")


def _noisy(
    noisy: Any, shadow_noisy: Any, target: Tensor, shadows: int, kind: Kind
) -> Tensor | None:
    """The answers of all networks to D noisy copies, (1 + K, D, N, C); None without them."""
    given = {"noisy": noisy, "shadow_noisy": shadow_noisy}
    needed = [name for name in given if name == "noisy" or shadows]
    if all(value is None for value in given.values()):
        return None
    for name, value in given.items():
        if (value is None) == (name in needed):
            other = "noisy" if name == "shadow_noisy" else "shadow_noisy"
            problem = "is given, and there are no shadows" if value is not None else "is missing"
            raise DataError(f"{name} {problem}: give {other} and {name} for all networks, or none")
    networks = []
    for name in needed:
        values = _real(as_tensor(given[name], name), name)
        if kind == "margins" and values.ndim == 2 + (name == "shadow_noisy"):
            values = values[..., None]
        if name == "noisy":
            values = values[None]
        count = 1 if name == "noisy" else shadows
        if (
            values.ndim != 4
            or values.shape[1] == 0
            or ((len(values), *values.shape[2:]) != (count, *target.shape[1:]))
        ):
            expected = ", ".join(
                map(str, ([count] if name != "noisy" else []) + ["D", *target.shape[1:]])
            )
            raise DataError(
                f"{name} must be the answers to D noisy copies of each example, ({expected}): got "
                f"shape {tuple(values.shape if name != 'noisy' else values.shape[1:])}"
            )
        networks.append(as_logits(values, kind, name))
    if len(networks) > 1 and networks[0].shape[1] != networks[1].shape[1]:
        raise DataError(
            f"noisy holds {networks[0].shape[1]} copies of each example and shadow_noisy "
            f"{networks[1].shape[1]}: give as many of all"
        )
    return torch.cat(networks)


def _scale(noise_scale: float | None) -> float:
    if noise_scale is None:
        return NOISE_SCALE
    if isinstance(noise_scale, bool) or not 0 < noise_scale < inf:
        raise DataError(
            f"noise_scale must be the standard deviation of the noise, above 0 (got {noise_scale})"
        )
    return float(noise_scale)


def _examples(examples: Tensor, target: Tensor, kind: Kind) -> Tensor:
    """The examples as a dataset would hold them."""
    if examples.ndim < 2 or len(examples) != target.shape[1] or examples.numel() == 0:
        raise DataError(
            f"x must have one example for each row of {kind}, (N, ...): x has shape "
            f"{tuple(examples.shape)}, {kind} {_shape(target)}"
        )
    if examples.dtype == torch.uint8:
        return examples
    examples = _real(examples, "x").float()
    lost = (~torch.isfinite(examples.flatten(1)).all(1)).nonzero()
    if len(lost):
        raise DataError(f"x holds NaN or infinity in row {int(lost[0])}")
    return examples


def _shape(answers: Tensor) -> tuple[int, ...]:
    """The shape of answers (Q, N, C) as the caller most likely gave them."""
    return tuple(answers.shape[1:] if len(answers) == 1 else answers.shape)
