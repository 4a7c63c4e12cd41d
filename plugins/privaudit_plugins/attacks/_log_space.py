"""Confidence and entropies of predictions by their logarithms: nothing is clamped, none vanishes.

A network that knows its training data by heart is sure of it to far more digits than a float
holds: 1 - p rounds to 0 long before members stop differing. So every quantity is found from
the log-odds of each class and stays exact where p itself rounds to 0 or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def log_odds(logits: Tensor) -> Tensor:
    """The log-odds of every class i: log p_i - log(1 - p_i) = z_i - log Σ_{j≠i} exp z_j.

    Args:
        logits: (n, C) float64, C ≥ 2.

    Returns:
        (n, C) float64, finite where the logits are; -inf where p_i is 0, +inf where it is 1.
    """
    top = logits.argmax(-1, keepdim=True)
    everyone = logits.logsumexp(-1, keepdim=True)
    # Of the others than the likeliest, p ≤ 1/2: what is left over loses no digits.
    p = (logits - everyone).exp().scatter(-1, top, 0.0)
    others = everyone + torch.log1p(-p)
    rivals = logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
    return logits - others.scatter(-1, top, rivals)


def log_entropy(logits: Tensor) -> Tensor:
    """The logarithm (n,) of -Σ_i p_i log p_i, from logits (n, C) float64; 0 log 0 is 0."""
    odds = log_odds(logits)
    terms = logsigmoid(odds) + log_softplus(-odds)
    return terms.where(odds > -torch.inf, -torch.inf).logsumexp(-1)


def log_modified_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The logarithm (n,) of -(1 - p_y) log p_y - Σ_{i≠y} p_i log(1 - p_i).

    Song & Mittal 2021, "Systematic evaluation of privacy risks of machine learning models".

    Args:
        logits: (n, C) float64.
        y: (n,) int64 labels.
    """
    odds = log_odds(logits)
    # Both kinds of term are one: p log(1 - p) of "not y" is (1 - p_y) log p_y.
    own = y[:, None] == torch.arange(logits.shape[-1])
    odds = torch.where(own, -odds, odds)
    return (logsigmoid(odds) + log_softplus(odds)).logsumexp(-1)


def log_softplus(x: Tensor) -> Tensor:
    """The logarithm of log(1 + exp x), which is x where exp x is below a rounding.

    Of x = -φ it is the logarithm of the cross-entropy.
    """
    small = x < -40
    return torch.where(small, x, (-logsigmoid(-torch.where(small, 0.0, x))).log())
