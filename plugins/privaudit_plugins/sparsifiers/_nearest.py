"""The sparse weights that are nearest to given ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor


def nearest_sparse(
    weights: Mapping[str, Tensor], share: float, scope: Literal["global", "layer"]
) -> dict[str, Tensor]:
    """One model's weights of two and more axes, all but the largest set to zero.

    Args:
        weights: by name; those of fewer axes are left out.
        share: round(share · candidates) stay.
        scope: of all layers together, or of each.
    """
    matrices = {name: w for name, w in weights.items() if w.ndim > 1}
    groups = [list(matrices)] if scope == "global" else [[name] for name in matrices]
    nearest: dict[str, Tensor] = {}
    for group in groups:
        flat = largest(torch.cat([matrices[name].flatten() for name in group]), share)
        parts = torch.split(flat, [matrices[name].numel() for name in group])
        nearest |= {n: p.view_as(matrices[n]) for n, p in zip(group, parts, strict=True)}
    return nearest


def largest(values: Tensor, share: float) -> Tensor:
    """The vector (Q,) of at most round(share·Q) nonzero numbers that is nearest to the given one.

    Of numbers of equal magnitude the first stay, as when a cohort prunes.
    """
    stays = round(share * len(values))
    if stays == 0:
        return torch.zeros_like(values)
    magnitude = values.abs()
    threshold = magnitude.topk(stays, sorted=False).values.amin()
    above, equal = magnitude > threshold, magnitude == threshold
    room = stays - above.sum()
    return torch.where(above | (equal & (equal.cumsum(0) <= room)), values, 0.0)
