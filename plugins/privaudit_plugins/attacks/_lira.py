"""Likelihood ratios of φ for many targets at once.

Which shadows serve for which target is a matrix, so leaving some out of every mean and every
variance is a matrix product. Sums are taken of distances from one of the values, so that they
lose no digits, and of values that are all equal the variance is 0 exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from privaudit_plugins.attacks._phi import blocks

Center = Literal["mean", "median"]

_LEAST = 1e-60  # variance: where all shadows agree to the last digit, the authors' σ is 1e-30, too


@dataclass(frozen=True)
class Shadows:
    """The shadows' φ on n examples, and who of them serves for each of T targets.

    Attributes:
        phi: (K, Q, n) float64.
        inside: (K, n) bool: trained on the example.
        outside: (K, n) bool: not trained on it. Who is neither does not count.
        kept: (T, K) bool: whom each target's attacker has.
    """

    phi: Tensor
    inside: Tensor
    outside: Tensor
    kept: Tensor

    def sides(self, online: bool) -> list[Tensor]:
        """The shadows that had each example, if they are used, and those that had not."""
        return [self.inside, self.outside] if online else [self.outside]

    def blocks(self) -> list[slice]:
        """The examples in parts that fit the cache."""
        queries, examples = self.phi.shape[1:]
        return list(blocks(examples, queries * (len(self.phi) + len(self.kept))))


@dataclass(frozen=True)
class _Side:
    """φ over the shadows of one side: count (T, 1, b); mean, squares (T, Q, b)."""

    count: Tensor
    mean: Tensor
    squares: Tensor


def likelihood_ratios(
    target: Tensor, shadows: Shadows, *, online: bool, per_example: bool, center: Center
) -> Tensor:
    """The scores of Carlini et al. 2022: algorithm 1 online, its one-sided variant offline.

    The paper fits one Gaussian to the vector of all queries. Here its covariance is diagonal, as
    in the authors' code, which takes the mean of the queries' log-likelihoods: a full matrix would
    take more shadows than queries on each side of each example. So log-likelihoods, or offline
    log-probabilities, are summed over queries. Variances lie around the mean
    whatever the center, per example with n in the denominator (as in the authors' code), global
    ones over all examples and queries with the n - 1 of each example.

    Args:
        target: (T, Q, n) float64: φ of each target.
        shadows: K of them.
        online: log N(φ; in) - log N(φ; out), else log Pr[N(out) < φ].
        per_example: one variance per example, query and side, else one per side.
        center: of each Gaussian.

    Returns:
        (T, n) float64, higher = likelier a member; NaN where there are no shadows to tell.
    """
    every = [
        None if per_example else _pooled(shadows, which)[:, None, None]
        for which in shadows.sides(online)
    ]
    score = torch.empty((len(target), target.shape[-1]), dtype=torch.float64)
    for block in shadows.blocks():
        phi = target[..., block]
        fits = []
        for which, variance in zip(shadows.sides(online), every, strict=True):
            side = _describe(shadows, which, block)
            mean = side.mean if center == "mean" else _medians(shadows, which, block)
            if variance is None:
                variance = (side.squares / side.count).where(side.count > 1, torch.nan)
            fits.append((phi - mean, variance.clamp_min(_LEAST)))
        if online:
            (near, var_in), (far, var_out) = fits
            ratio = (far**2 / var_out + var_out.log() - near**2 / var_in - var_in.log()) / 2
        else:
            far, var_out = fits[0]
            ratio = torch.special.log_ndtr(far / var_out.sqrt())
        score[:, block] = ratio.sum(dim=1)
    return score


def _describe(shadows: Shadows, which: Tensor, block: slice) -> _Side:
    phi, which, kept = shadows.phi[..., block], which[:, block], shadows.kept.double()
    weight = which.double()
    first = weight.argmax(0).expand(1, phi.shape[1], -1)
    origin = phi.gather(0, first)  # (1, Q, b)
    away = (phi - origin) * weight[:, None]
    count = (kept @ weight)[:, None]
    shift = (kept @ away.flatten(1)).view(-1, *away.shape[1:]) / count
    squares = (kept @ away.square_().flatten(1)).view(shift.shape) - count * shift**2
    return _Side(count, origin + shift, squares.clamp_min(0))


def _pooled(shadows: Shadows, which: Tensor) -> Tensor:
    """(T,): the variance within examples, over all examples and queries."""
    squares = torch.zeros(len(shadows.kept), dtype=torch.float64)
    freedom = torch.zeros_like(squares)
    for block in shadows.blocks():
        side = _describe(shadows, which, block)
        squares += side.squares.nansum((1, 2))
        freedom += side.squares.shape[1] * (side.count - 1).clamp_min(0).sum((1, 2))
    return squares / freedom


def _medians(shadows: Shadows, which: Tensor, block: slice) -> Tensor:
    phi, which = shadows.phi[..., block], which[:, block]
    found = [
        phi.where((which & kept[:, None])[:, None], torch.nan).nanquantile(0.5, dim=0)
        for kept in shadows.kept
    ]
    return torch.stack(found)
