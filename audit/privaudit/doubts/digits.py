"""How many digits numbers have, and whether they lost some on the way here."""

from __future__ import annotations

from math import inf, log

import numpy as np
import torch
from torch import Tensor

_DECIMALS = 6
_GLANCE = 256  # numbers that mostly tell already
_CLIPPED = 0.05  # share of numbers that equal the lowest or the highest of them
_FLOOR = 1e-4  # probability up to which clipping is looked for: shares of votes are larger
_FILLED = 0.05  # share of rows that say nothing of the classes, as no trained network's do
_SMALLEST = 1e-30  # positive probability below which 0 stands for one too small for its type


def decimals(values: Tensor) -> int | None:
    """The fewest decimals that all numbers (float32 or float64) have, 0 to 6; None if more.

    It is told by the digits alone: where 1e-9 stands beside 1 it is no rounded 0.
    """
    numbers = values[values.isfinite()].flatten()
    if len(numbers) == 0:
        return None
    exact = 4 * torch.finfo(values.dtype).eps
    numbers = numbers.double()
    most = float(numbers.abs().max())
    for count in range(_DECIMALS + 1):
        if exact * most * 10.0**count > 0.1:
            return None  # the type itself has no more digits, so they tell nothing
        if _whole(numbers[:_GLANCE], count, exact) and _whole(numbers, count, exact):
            return count
    return None


def _whole(numbers: Tensor, count: int, exact: float) -> bool:
    """Whether all numbers have so many decimals, but for a relative error."""
    nearest = (numbers * 10.0**count).round() / 10.0**count
    return bool(((numbers - nearest).abs() <= exact * numbers.abs()).all())


def coarseness(values: Tensor, kind: str) -> str:
    """In which words the numbers of one network were made coarser than it answers; often empty.

    Rounding is told from a forest's votes, whose steps are no loss, by the sums of the rows:
    shares of votes sum to 1, rounded shares miss it in some row. With two classes they never do,
    so there it is told from three decimals on.

    Args:
        values: (..., C) as given, float32 or float64; NaN and +inf are not among them.
        kind: what they are, a key of `privaudit.outputs.kinds.KINDS`.
    """
    rows = values.flatten(0, -2)
    if one_for_each_class(rows):
        return (
            "are one row for each class, as of a prediction alone (accept this of a network that "
            "answers no more, such as a tree)"
        )
    if kind == "probabilities":
        return _of_probabilities(rows)
    count = decimals(values)
    if count is not None:
        return f"have {count} decimals"
    if kind == "logits" and float((rows == rows[:, :1]).all(-1).double().mean()) > _FILLED:
        return "are the same for all classes in many rows, as if these were filled in"
    ends = {"most": log(_FLOOR)} if kind == "log_probabilities" else {}
    return _half(values) or _clipped(values, **ends)


def one_for_each_class(rows: Tensor) -> bool:
    """Whether rows (n, C) are no more different ones than there are classes: labels, not answers.

    Of a network with one output (n, 1) they are two numbers.
    """
    most, numbers = max(2, rows.shape[-1]), rows.numpy()
    if len(rows) < 10 * most or len(np.unique(numbers[: most + 100], axis=0)) > most:
        return False
    return len(np.unique(numbers, axis=0)) <= most


def _of_probabilities(p: Tensor) -> str:
    off = float((p.double().sum(-1) - 1).abs().max())
    count = decimals(p)
    if count is not None:
        lost = off > 0.4 * 10.0**-count if p.shape[-1] > 2 else count >= 3
        return f"have {count} decimals" if lost else ""
    if off > 1e-6 and (words := _half(p)):
        return words
    zero = p == 0
    if bool(zero.any()):
        if float(p[~zero].min()) < _SMALLEST:
            return f"are 0 where they are too small for {_type(p)}"
        likeliest = (~zero).sum(-1)
        alike = bool((zero == zero[0]).all())  # classes that the network never saw
        if p.shape[-1] > 2 and not alike and bool((likeliest == likeliest[0]).all()):
            return f"are those of the {int(likeliest[0])} likeliest classes only"
    return (_from_one(p) if p.shape[-1] == 2 else "") or _clipped(p[~zero], most=_FLOOR)


def _from_one(p: Tensor) -> str:
    """Of two classes, whether one was found as 1 - p, which has no digits below those of 1."""
    step = torch.finfo(p.dtype).eps / 2
    for column in p.double().unbind(-1):
        small = column[column < 0.25]
        coarse, votes = (small / unit for unit in (step, step * 2**12))
        # Shares of votes of 2, 4, 8, ... trees are no such differences.
        if len(small) > 10 and bool((coarse == coarse.round()).all() & (votes % 1 > 0).any()):
            return f"are as fine as 1 - p in {_type(p)}"
    return ""


def _half(values: Tensor) -> str:
    single = values.float()
    if not bool((single.double() == values.double()).all()):
        return ""
    for kept, words in ((torch.float16, "half precision"), (torch.bfloat16, "bfloat16")):
        if bool((single.to(kept).float() == single).all()):
            return f"are stored in {words}"
    return ""


def _clipped(values: Tensor, most: float = inf) -> str:
    """Whether many numbers are the lowest or the highest of all, as after clipping.

    Args:
        values: of one network.
        most: the largest number at which clipping is looked for.
    """
    numbers = values[values.isfinite()]
    if len(numbers) < 100:
        return ""
    for end in (numbers.min(), numbers.max()):
        if end <= most and float((numbers == end).double().mean()) > _CLIPPED:
            return f"are cut off at {float(end):.4g}"
    return ""


def _type(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")
