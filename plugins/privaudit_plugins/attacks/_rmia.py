"""Ratios to a reference, and how many of a population's they exceed, for many targets at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from privaudit_plugins.attacks._phi import blocks


def log_mean(log_p: Tensor, which: Tensor, kept: Tensor) -> Tensor:
    """Log of the mean probability that each target's shadows give each example.

    Args:
        log_p: (K, n) float64.
        which: (K, n) bool: the shadows that count for each example.
        kept: (T, K) bool: whom each target's attacker has.

    Returns:
        (T, n) float64; NaN where nobody counts.
    """
    weight = kept.double()
    found = torch.empty((len(kept), log_p.shape[1]), dtype=torch.float64)
    for block in blocks(log_p.shape[1], len(log_p) + len(kept)):
        counts = which[:, block].double()
        some = log_p[:, block]
        top = some.where(which[:, block], -torch.inf).amax(0)
        p = (some - top).exp().where(which[:, block], 0.0)
        found[:, block] = top + (weight @ p).log() - (weight @ counts).log()
    return found


def log_from_outside(log_p_out: Tensor, a: float) -> Tensor:
    """Log of ½((1 + a)·P_out + 1 - a): what P would be with in-models, guessed without.

    Zarifzadeh et al. 2024, "Low-cost high-power membership inference attacks", offline attack:
    P_in is taken as a·P_out + 1 - a.
    """
    rest = math.log((1 - a) / 2) if a < 1 else -math.inf
    return torch.logaddexp(
        log_p_out + math.log((1 + a) / 2), torch.tensor(rest, dtype=torch.float64)
    )


def share_dominated(ratio: Tensor, population: Tensor, gamma: float) -> Tensor:
    """The share of z with ratio_x / ratio_z ≥ γ, by sorting: O((n + Z) log Z).

    Args:
        ratio: (n,) float64: log ratio_x; NaN stays NaN.
        population: (Z,) float64: log ratio_z; NaN are left out.
        gamma: γ.

    Returns:
        (n,) float64, from 0 to 1.
    """
    known = population[~population.isnan()].sort().values
    below = torch.searchsorted(known, ratio - math.log(gamma), right=True)
    return (below.double() / len(known)).where(~ratio.isnan(), torch.nan)
