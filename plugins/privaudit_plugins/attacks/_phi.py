"""How sure models are of the true class: in log space, in float64, some examples at a time.

The answers of 256 models to 50,000 examples are half a gigabyte in float32, so they are never
copied whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_NUMBERS = 2**20  # float64 numbers worked on at once: 8 MB


def log_odds(logits: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """φ = log p_y - log Σ_{i≠y} p_i = z_y - log Σ_{i≠y} exp z_i.

    Carlini et al. 2022, "Membership inference attacks from first principles", logit scaling in
    its stable form. Nothing is clipped: φ is finite wherever z_y and the largest other logit
    are, however sure the model.

    Args:
        logits: (..., N, C), C ≥ 2.
        y: (N,) int64 labels.
        rows: (n,) int64, the examples asked for.

    Returns:
        (..., n) float64.
    """

    def odds(z: Tensor, own: Tensor) -> Tensor:
        true = z.gather(-1, own)
        return true[..., 0] - z.scatter_(-1, own, -torch.inf).logsumexp(-1)

    return by_block(logits, y, rows, odds)


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
