"""Labels that are not sure, and what they cost a network, from logits in log-space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def soft_labels(y: Tensor, share: Tensor, classes: int) -> Tensor:
    """Distributions (B, C) that give the true class a share and the others the rest, evenly.

    Args:
        y: (B,) int64 labels.
        share: (B,) or a scalar, in [0, 1].
        classes: C.
    """
    own = y[:, None] == torch.arange(classes, device=y.device)
    share = share.expand(y.shape)[:, None]
    return torch.where(own, share, (1 - share) / (classes - 1))


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-Σ_i t_i log p_i, (B,), of logits (B, C) under distributions t, (B, C)."""
    return -(labels * log_softmax(logits, -1)).sum(-1)


def entropy(logits: Tensor) -> Tensor:
    """-Σ_i p_i log p_i, (B,), of logits (B, C)."""
    return soft_cross_entropy(logits, logits.softmax(-1))
