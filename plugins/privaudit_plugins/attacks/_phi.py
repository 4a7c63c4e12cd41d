"""How sure models are of the true class: in log space, in float64, some examples at a time.

The answers of 256 models to 50,000 examples are half a gigabyte in float32, so they are never
copied whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_NUMBERS = 2**20  # float64 numbers worked on at once: 8 MB


def log_odds(logits: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """φ = log p_y - log Σ_{i≠y} p_i = z_y - log Σ_{i≠y} exp z_i.

    Carlini et al. 2022, "Membership inference attacks from first principles", logit scaling in
    its stable form. Nothing is clipped: φ is finite wherever z_y and the largest other logit
    are, however sure the model. A logit of -inf is the logarithm of a probability of 0, as random
    forests give them; where p_y is 0, φ is -inf, and where it is 1, φ is +inf.

    Args:
        logits: (..., N, C), C ≥ 2.
        y: (N,) int64 labels.
        rows: (n,) int64, the examples asked for.

    Returns:
        (..., n) float64; NaN where a logit is NaN or +inf, or all are -inf.
    """

    def odds(z: Tensor, own: Tensor) -> Tensor:
        true = z.gather(-1, own)[..., 0]
        others = z.scatter_(-1, own, -torch.inf).logsumexp(-1)
        endless = (true == torch.inf) | (others == torch.inf)
        return (true - others).masked_fill(endless, torch.nan)

    return by_block(logits, y, rows, odds)


def finite_ends(*values: Tensor) -> tuple[Tensor, ...]:
    """The values, with infinite ones placed just beyond the finite ones of them all.

    A log-odds of ±inf comes from a probability of 0: it is less than any seen, and how much less
    nobody knows. It is taken for half of the smallest seen, log 2 beyond the last finite value.
    So it keeps its rank, and means, variances and distances of thresholds exist.

    >>> finite_ends(torch.tensor([-torch.inf, 3.0]), torch.tensor([1.0]))
    (tensor([0.3069, 3.0000]), tensor([1.]))
    """
    if all(bool(some.isfinite().all()) for some in values):
        return values
    finite = torch.cat([some[some.isfinite()] for some in values])
    low, high = (float(end) for end in finite.aminmax()) if len(finite) else (0.0, 0.0)
    step = math.log(2)
    return tuple(some.nan_to_num(torch.nan, high + step, low - step) for some in values)


def blocks(count: int, numbers: int) -> Iterator[slice]:
    """Slices of `count` examples with `numbers` numbers each that fit the cache better."""
    step = max(1, _NUMBERS // max(1, numbers))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def by_block(
    logits: Tensor, y: Tensor, rows: Tensor, measure: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """A measure of logits (..., n, C), as float64 copies, and labels (..., n, 1)."""
    models, classes = logits.shape[:-2], logits.shape[-1]
    found = torch.empty((*models, len(rows)), dtype=torch.float64)
    for block in blocks(len(rows), models.numel() * classes):
        some = rows[block]
        z = logits[..., some, :].to(torch.float64, copy=True)
        found[..., block] = measure(z, y[some, None].expand(*z.shape[:-1], 1))
    return found
