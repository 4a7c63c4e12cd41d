"""What numbers look like, whatever they are called: by their range and their sums."""

from __future__ import annotations

from math import log

from torch import Tensor

from privaudit.doubts.digits import decimals

MEANINGS = {
    "probabilities": "look like probabilities, each row summing to 1: say kind=probabilities "
    "(--kind probabilities)",
    "rounded probabilities": "look like rounded probabilities, each row summing to 1 within the "
    "rounding: say kind=probabilities (--kind probabilities), better unrounded",
    "percentages": "look like percentages, each row summing to 100: divide them by 100 and say "
    "kind=probabilities (--kind probabilities)",
    "sigmoids": "all lie between 0 and 1, and rows do not sum to 1, as after a sigmoid or a "
    "scaling: give what the network answers before that",
    "tangents": "all lie between -1 and 1, many of them at the ends, as after a tanh or a scaling: "
    "give what the network answers before that",
    "unit lengths": "have the same length in each row, as after a normalisation: give what the "
    "network answers before that",
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
_END, _ENDS = 0.99, 0.05  # share of numbers that a tanh has brought so near to -1 or 1
_TURNED = 0.1  # of their length that rows of unit length differ from their mean, mostly, at least
_MOST = 0.9  # share of rows that must agree: a few may be filled in or damaged


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
    if low >= -1 - 1e-6 and high <= 1 + 1e-6 and float((rows.abs() > _END).double().mean()) > _ENDS:
        return "tangents"
    if high > 1e-6 and _same_length(rows):
        return "unit lengths"
    # Where a network is sure everywhere, the base of its logarithms does not show, nor matter.
    if high <= 1e-6 and not log_probabilities(rows):
        for name, base in (("decimal logarithms", 10.0), ("binary logarithms", 2.0)):
            if _most((rows * log(base)).logsumexp(-1).abs() <= SUM_ERROR):
                return name
    return None


def log_probabilities(values: Tensor) -> bool:
    """Whether every row (..., C) holds logarithms of probabilities that sum to 1."""
    return bool((values.double().logsumexp(-1).abs() <= SUM_ERROR).all())


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
    usual = float(sums.median())
    if len(sums) > 1 and _most((sums - usual).abs() <= max(1e-3 * usual, blur)):
        return "shares"
    if _most((-rows).logsumexp(-1).abs() <= SUM_ERROR):
        return "negative log-probabilities"
    return None


def _same_length(rows: Tensor) -> bool:
    """Whether rows that differ in direction have one length; those of a constant network do not."""
    scaled = rows / rows.abs().amax()
    length = scaled.norm(dim=-1)
    usual = float(length.median())
    if float((scaled - scaled.mean(0)).norm(dim=-1).median()) < _TURNED * usual:
        return False
    return _most((length - usual).abs() <= 1e-3 * usual)


def _most(rows: Tensor) -> bool:
    return float(rows.double().mean()) >= _MOST
