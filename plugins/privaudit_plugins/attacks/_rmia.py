"""Ratios to a reference, and how many of a population's they exceed, for many targets at once.

Networks that are sure of everything differ in what a probability lacks to one. So a probability
is kept by the logarithms of both, and the log of a ratio loses no digits at either end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from privaudit.reductions import blocks

_TINY = -460.0  # log of 1e-200: below it a log-ratio is told by its own logarithm
_NEAR_ONE = -40.0  # log of 1 - p below which log p is -(1 - p) to the last digit


@dataclass(frozen=True)
class Probability:
    """Probabilities by two logarithms.

    Attributes:
        log: of p, (T, n) float64.
        log_rest: of 1 - p, (T, n) float64.
    """

    log: Tensor
    log_rest: Tensor


def mean_probability(odds: Tensor, which: Tensor, kept: Tensor) -> Probability:
    """The mean probability that each target's shadows give each example.

    Args:
        odds: (K, n) float64: log p - log(1 - p) of each shadow.
        which: (K, n) bool: the shadows that count for each example.
        kept: (T, K) bool: whom each target's attacker has.

    Returns:
        (T, n), NaN where nobody counts.
    """
    return Probability(
        log_mean(odds, which, kept, logsigmoid),
        log_mean(odds, which, kept, lambda some: logsigmoid(-some)),
    )


def log_mean(
    values: Tensor, which: Tensor, kept: Tensor, log: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Log of the mean of exp(values) (K, n) as for `mean_probability`, (T, n).

    Args:
        values: logarithms, or of what `log` makes them, block by block.
        which: as for `mean_probability`.
        kept: as for `mean_probability`.
        log: from values (K, b) to logarithms (K, b).
    """
    weight = kept.double()
    mean = torch.empty((len(kept), values.shape[1]), dtype=torch.float64)
    for block in blocks(values.shape[1], len(values) + len(kept)):
        counts = which[:, block].double()
        some = values[:, block] if log is None else log(values[:, block])
        top = some.where(which[:, block], -torch.inf).amax(0)
        p = (some - top).exp().where(which[:, block], 0.0)
        mean[:, block] = top + (weight @ p).log() - (weight @ counts).log()
    return mean


def guessed_from_outside(out: Probability, a: float) -> Probability:
    """½((1 + a)·P_out + 1 - a): what P would be with in-models, guessed without.

    Zarifzadeh et al. 2024, "Low-cost high-power membership inference attacks", offline attack:
    P_in is taken as a·P_out + 1 - a.
    """
    share = math.log((1 + a) / 2)
    rest = torch.tensor(math.log((1 - a) / 2) if a < 1 else -math.inf, dtype=torch.float64)
    return Probability(torch.logaddexp(out.log + share, rest), out.log_rest + share)


def log_ratio(odds: Tensor, reference: Probability) -> Tensor:
    """Log of p / P, ordered and exact wherever the log-odds are; of the same sign as p - P.

    Where |p - P| is below 1e-200, p and P being nearly one, the value is between the others and
    zero, in the right order, instead of a zero: margins of 10,000 are told apart.

    Args:
        odds: (T, n) float64: log p - log(1 - p).
        reference: P, (T, n).

    Returns:
        (T, n) float64.
    """
    log_rest = logsigmoid(-odds)
    log_p = torch.where(
        reference.log_rest < -1, torch.log1p(-reference.log_rest.exp()), reference.log
    )
    ratio = logsigmoid(odds) - log_p
    high, low = (f(log_rest, reference.log_rest) for f in (torch.maximum, torch.minimum))
    size = high + torch.log(-torch.expm1(low - high))  # log |p - P|, which is |log p / P| there
    small = math.exp(_TINY) / (1 + _TINY - size) * torch.sign(reference.log_rest - log_rest)
    return torch.where((size < _TINY) & (high < _NEAR_ONE), small, ratio)


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


def ties_broken(share: Tensor, ratio: Tensor, population: int) -> Tensor:
    """Shares of Z examples, equal ones put in the order of their ratios.

    Z examples have Z + 1 shares. Of an infinitely large population the share would rise with the
    ratio, and equal shares would not be equal: the order within each is what such a population
    would say.

    Args:
        share: (n,) float64; NaN stays NaN.
        ratio: (n,) float64: log ratio_x.
        population: Z.

    Returns:
        (n,) float64, from 0 to 1.
    """
    return (share * population + mid_ranks(ratio)) / (population + 1)


def mid_ranks(values: Tensor) -> Tensor:
    """The share (n,) of values that lie below each, an equal one counting half; NaN stays NaN."""
    known = values[~values.isnan()].sort().values
    both = [torch.searchsorted(known, values, right=right).double() for right in (False, True)]
    return ((both[0] + both[1]) / 2 / max(1, len(known))).where(~values.isnan(), torch.nan)
