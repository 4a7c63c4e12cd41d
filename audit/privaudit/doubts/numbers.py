"""What numbers look like, whatever they are called: by their range, their sums and their digits."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

MEANINGS = {
    "probabilities": "look like probabilities, each row summing to 1: say kind=probabilities "
    "(--kind probabilities)",
    "rounded probabilities": "look like rounded probabilities, each row summing to 1 within the "
    "rounding: say kind=probabilities (--kind probabilities), better unrounded",
    "percentages": "look like percentages, each row summing to 100: divide them by 100 and say "
    "kind=probabilities (--kind probabilities)",
    "sigmoids": "all lie between 0 and 1, and rows do not sum to 1, as after a sigmoid or a "
    "scaling: give what the network answers before that",
    "shares": "are not negative and each row has the same sum, as counts of votes have: divide "
    "them by the sum and say kind=probabilities (--kind probabilities)",
    "negative log-probabilities": "look like negative logarithms of probabilities: give them with "
    "the other sign and say kind=log_probabilities (--kind log_probabilities)",
    "decimal logarithms": "look like logarithms of probabilities to base 10: multiply them by "
    "ln 10 and say kind=log_probabilities (--kind log_probabilities)",
    "binary logarithms": "look like logarithms of probabilities to base 2: multiply them by "
    "ln 2 and say kind=log_probabilities (--kind log_probabilities)",
}
"""What numbers given as logits may be instead, and what to do. Log-probabilities are not among
them: their softmax, and so every attack, is that of the logits."""

SUM_ERROR = 0.01  # a row of half-precision probabilities, or of 1,000 float32 ones, sums closer
_MOST = 0.9  # share of rows that must agree: a few may be filled in or damaged
_DECIMALS = 6


def looks_like(values: Tensor) -> str | None:
    """What numbers given as logits seem to be instead, a key of `MEANINGS`.

    Logits of a network pass all of these tests with no chance worth a number: they would have to
    keep a sum, or all be of one sign and below one, in nine of ten rows.

    Args:
        values: (..., C), C ≥ 2; -inf is allowed.

    Returns:
        None where they may well be logits or log-probabilities.
    """
    rows = values.detach().double().flatten(0, -2)
    low, high = (float(end) for end in rows.aminmax())
    if low == high:
        return None
    if low >= -1e-6:
        return _not_negative(rows, high)
    if high <= 1e-6:
        for name, base in (("decimal logarithms", 10.0), ("binary logarithms", 2.0)):
            if _most((rows * log(base)).logsumexp(-1).abs() <= SUM_ERROR):
                return name
    return None


def log_probabilities(values: Tensor) -> bool:
    """Whether every row (..., C) holds logarithms of probabilities that sum to 1."""
    return bool((values.double().logsumexp(-1).abs() <= SUM_ERROR).all())


def decimals(values: Tensor) -> int | None:
    """The fewest decimals that all numbers have, 0 to 6; None where there are more.

    It is told by the digits alone: where 1e-9 stands beside 1 it is no rounded 0.
    """
    numbers = values[values.isfinite()].flatten()
    if len(numbers) == 0:
        return None
    exact = torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
    numbers = numbers.double()
    most = float(numbers.abs().max())
    for count in range(_DECIMALS + 1):
        scale = 10.0**count
        if 4 * exact * most * scale > 0.1:
            return None  # the type itself has no more digits, so they tell nothing
        whole = (numbers * scale).round() / scale
        if bool(((numbers - whole).abs() <= 4 * exact * numbers.abs()).all()):
            return count
    return None


def rounding(probabilities: Tensor) -> float:
    """How far a row's sum may lie from 1 by rounding: half a unit of the last decimal a class."""
    count = decimals(probabilities)
    return SUM_ERROR if count is None else max(SUM_ERROR, probabilities.shape[-1] * 10.0**-count)


def coarseness(values: Tensor, kind: str) -> str:
    """In which words the numbers of one network were made coarser than it answers; often empty.

    Rounding is told from a forest's votes, whose steps are no loss, by the sums of the rows:
    shares of votes sum to 1, rounded shares miss it in some row. With two classes they never do,
    so there from three decimals on.

    Args:
        values: (..., C) as given.
        kind: what they are, a key of `privaudit.outputs.kinds.KINDS`.
    """
    if kind == "probabilities":
        return _coarse_probabilities(values)
    count = decimals(values)
    if count is not None:
        return f"have {count} decimals"
    halves = values.float()
    if bool((halves.half().float() == halves).all()):
        return "are stored in half precision"
    if bool((halves.bfloat16().float() == halves).all()):
        return "are stored in bfloat16"
    return ""


def _coarse_probabilities(p: Tensor) -> str:
    off = (p.double().sum(-1) - 1).abs().max()
    count = decimals(p)
    if count is not None:
        lost = off > 0.4 * 10.0**-count if p.shape[-1] > 2 else count >= 3
        return f"have {count} decimals" if lost else ""
    single = p.float()
    if bool((single.half().float() == single).all()) and off > 1e-6:
        return "are stored in half precision"
    if bool((single.bfloat16().float() == single).all()) and off > 1e-6:
        return "are stored in bfloat16"
    positive = p[p > 0]
    if bool((p == 0).any()) and float(positive.min()) < 1e-30:
        return f"are too small for {str(p.dtype)[6:]} in places, and 0 there"
    return ""


def _not_negative(rows: Tensor, high: float) -> str | None:
    sums, count = rows.sum(-1), decimals(rows)
    blur = 0.0 if count is None else rows.shape[-1] * 10.0**-count / 2 + 1e-6
    if high <= 1 + 1e-6:
        off = (sums - 1).abs()
        if _most(off <= SUM_ERROR):
            return "probabilities"
        return "rounded probabilities" if _most(off <= blur) else "sigmoids"
    if _most((sums - 100).abs() <= max(100 * SUM_ERROR, blur)):
        return "percentages"
    if len(sums) > 1 and _most((sums - sums.median()).abs() <= 1e-3 * sums.median()):
        return "shares"
    if _most((-rows).logsumexp(-1).abs() <= SUM_ERROR):
        return "negative log-probabilities"
    return None


def _most(rows: Tensor) -> bool:
    return float(rows.double().mean()) >= _MOST
