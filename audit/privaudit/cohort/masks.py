"""Which weights are pruned: exact counts, one mask per model."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_largest(scores: Tensor, kept: Tensor, keep: Tensor) -> Tensor:
    """The mask after pruning the smallest scores of what is not yet pruned.

    Exactly round(keep x remaining) stay in each row; of equal scores the first stay.

    Args:
        scores: (M, Q).
        kept: (M, Q) bool: not yet pruned.
        keep: (M,) share of the remaining ones that stays.
    """
    stays = (keep.double() * kept.sum(1)).round().long()
    ranked = scores.argsort(dim=1, descending=True, stable=True)
    first = kept.gather(1, ranked).int().argsort(dim=1, descending=True, stable=True)
    ranked = ranked.gather(1, first)  # what is pruned comes last, even after scores of -inf
    rank = torch.empty_like(ranked).scatter_(
        1, ranked, torch.arange(scores.shape[1]).expand_as(ranked)
    )
    return kept & (rank < stays[:, None])
