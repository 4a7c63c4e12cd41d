"""What few shadows tell of each example's φ, once all examples have told what is usual.

The conjugate prior of a Gaussian's mean and variance is the normal-inverse-gamma, and what it
predicts of the next value a Student t (Murphy 2007, Conjugate Bayesian analysis of the Gaussian
distribution, sections 5 and 6). The prior is learned from all examples (empirical Bayes): of the
variances by the mean and the variance of their logarithms (Smyth 2004, Linear models and empirical
Bayes methods for assessing differential expression, section 6.2), of the means by how far those
with the example lie from those without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from privaudit_plugins.attacks._lira import Shadows, Side, describe

Predictive = Literal["t", "normal"]

_SURE = 1e6  # degrees of freedom of a prior of variances that do not differ at all
_SMALLEST = 1e-5  # variance, of the median one: smaller ones count as this, as Smyth's code has it
_LEAST = 1e-60  # variance, as `_lira` has it
_STEPS = 60  # of Newton's method for the inverse of the trigamma function, which takes ten


@dataclass(frozen=True)
class _Variances:
    """The prior of the variances of one side, for each of T targets, (T, 1, 1).

    Attributes:
        freedom: how many shadows it is worth.
        scale: the variance it expects.
    """

    freedom: Tensor
    scale: Tensor


@dataclass(frozen=True)
class _Belief:
    """What is believed of one side's φ: mean, variance, and shadows that each is worth.

    All are (T, Q, n) or broadcast to it; `shadows` is NaN where there is nothing to tell.
    """

    mean: Tensor
    variance: Tensor
    freedom: Tensor
    shadows: Tensor


def posterior_ratios(
    target: Tensor, shadows: Shadows, *, online: bool, predictive: Predictive
) -> Tensor:
    """Log-likelihood ratios of φ with the example in the training data and without it.

    An example without in-shadows is judged by the prior, which is what all examples have in
    common. Log-likelihoods are summed over queries, as those of `likelihood_ratios` are.

    Args:
        target: (T, Q, n) float64: φ of each target.
        shadows: K of them; every example that is to have a score needs one without it.
        online: with in-shadows; else minus the logarithm of the chance of so high a φ without
            the example, on the scale of a normal deviate.
        predictive: t: the Student t of the posterior. normal: a Gaussian with the posterior's mean
            and variance, as if they were known.

    Returns:
        (T, n) float64, higher = likelier a member; NaN where no shadow is without the example.
    """
    outside = _whole(shadows, shadows.outside)
    if not online:
        believed = _alone(outside, _prior(outside))
        return _deviate(target, believed, predictive).sum(dim=1)
    inside = _whole(shadows, shadows.inside)
    away = inside.mean - outside.mean  # NaN where one side is empty
    shift, between = _apart(away, inside.count)
    without = _alone(outside, _prior(outside, between / 2))
    within = _beside(inside, _prior(inside, between / 2), without.mean + shift, away - shift)
    ratio = _log_density(target, within, predictive) - _log_density(target, without, predictive)
    return ratio.sum(dim=1)


def _whole(shadows: Shadows, which: Tensor) -> Side:
    """One side of all examples: (T, Q, n) is no more than the scores that are made of it."""
    sides = [describe(shadows, which, block) for block in shadows.blocks()]
    return Side(
        torch.cat([side.count for side in sides], dim=-1),
        torch.cat([side.mean for side in sides], dim=-1),
        torch.cat([side.squares for side in sides], dim=-1),
    )


def _apart(away: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (T, 1, 1) of φ with an example over φ without it, and the variance around it."""
    weight = count.expand_as(away).where(~away.isnan(), 0.0)
    total = weight.sum((1, 2), keepdim=True)
    shift = (weight * away.nan_to_num()).sum((1, 2), keepdim=True) / total
    around = (weight * (away - shift).nan_to_num() ** 2).sum((1, 2), keepdim=True) / total
    return shift, around


def _prior(side: Side, otherwise: Tensor | None = None) -> _Variances:
    """What the variances of all examples say of one more, by Smyth's moments of log variances.

    Args:
        side: whose variances.
        otherwise: (T, 1, 1), the variance where no example has two shadows on this side; 1 if
            not given, which leaves the order of the examples as it is.
    """
    freedom = (side.count - 1).clamp_min(0).expand_as(side.squares)
    known = freedom > 0
    variance = (side.squares / freedom).where(known, torch.nan)
    typical = variance.flatten(1).nanmedian(dim=1).values[:, None, None]
    typical = typical.where(typical > 0, variance.flatten(1).nan_to_num().amax(1)[:, None, None])
    variance = variance.clamp_min(_SMALLEST * typical).clamp_min(_LEAST)
    half = freedom.where(known, torch.nan) / 2
    log = variance.log() - torch.special.digamma(half) + half.log()
    count = known.sum((1, 2), keepdim=True)
    mean = log.nansum((1, 2), keepdim=True) / count
    spread = ((log - mean) ** 2).nansum((1, 2), keepdim=True) / (count - 1)
    expected = torch.special.polygamma(1, half).nansum((1, 2), keepdim=True) / count
    worth = (2 * _trigamma_inverse(spread - expected)).clamp_max(_SURE)
    scale = (mean + torch.special.digamma(worth / 2) - (worth / 2).log()).exp()
    fallback = torch.ones_like(mean) if otherwise is None else otherwise.clamp_min(_LEAST)
    return _Variances(
        worth.where(count > 1, _SURE), scale.where(count > 0, fallback).nan_to_num(_LEAST)
    )


def _trigamma_inverse(values: Tensor) -> Tensor:
    """Where the trigamma function takes these values; infinite where they are not above 0.

    Newton's method for its reciprocal, which is nearly a straight line (Smyth 2004, appendix).
    """
    known = values > 0
    y = values.where(known, 1.0)
    x = 0.5 + 1 / y
    for _ in range(_STEPS):
        trigamma = torch.special.polygamma(1, x)
        x = x + trigamma * (1 - trigamma / y) / torch.special.polygamma(2, x)
    return x.where(known, math.inf)


def _alone(side: Side, prior: _Variances) -> _Belief:
    """Of the side without the example, about whose mean nothing is known beforehand."""
    freedom = prior.freedom + (side.count - 1).clamp_min(0)
    squares = prior.freedom * prior.scale + side.squares.nan_to_num()
    shadows = side.count.where(side.count > 0, torch.nan)
    return _Belief(side.mean, (squares / freedom).clamp_min(_LEAST), freedom, shadows)


def _beside(side: Side, prior: _Variances, expected: Tensor, off: Tensor) -> _Belief:
    """Of the side with the example, whose mean is expected above that without it.

    Args:
        side: with the example; it may be empty.
        prior: of its variances.
        expected: (T, Q, n): the mean without the example and the usual shift.
        off: (T, Q, n): how far the mean with the example lies from there; NaN where unknown.
    """
    count = side.count
    squares = prior.freedom * prior.scale + side.squares.nan_to_num()
    stable = squares / (prior.freedom + (count - 1).clamp_min(0))
    known = ~off.isnan()
    seen = known.sum((1, 2), keepdim=True)
    ratio = (off**2 / stable).where(known, 0.0).sum((1, 2), keepdim=True) / seen
    chance = (1 / count).expand_as(off).where(known, 0.0).sum((1, 2), keepdim=True) / seen
    worth = 1 / (ratio - chance).clamp_min(1 / _SURE)  # shadows that the expectation is worth
    shadows = worth + count
    mean = expected + count / shadows * (side.mean - expected).where(count > 0, 0.0)
    squares = squares + worth * count / shadows * off.where(known, 0.0) ** 2
    freedom = prior.freedom + count
    return _Belief(mean, (squares / freedom).clamp_min(_LEAST), freedom, shadows)


def _log_density(phi: Tensor, believed: _Belief, predictive: Predictive) -> Tensor:
    """Up to a constant that all share: the logarithm of the predictive density at φ."""
    away = (phi - believed.mean) ** 2
    if predictive == "normal":
        variance = believed.variance
        return -(variance.log() + away / variance) / 2
    freedom, variance = believed.freedom, believed.variance * (1 + 1 / believed.shadows)
    height = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2) - freedom.log() / 2
    tail = torch.log1p(away / (freedom * variance)) * (freedom + 1) / 2
    return height - variance.log() / 2 - tail


def _deviate(phi: Tensor, believed: _Belief, predictive: Predictive) -> Tensor:
    """How many standard deviations of a Gaussian φ lies above its mean.

    Of the t it is the deviate with the same tail, by Wallace's approximation (1959, Bounds on
    normal approximations to Student's and the chi-square distributions), which is close, keeps
    the order, and never rounds to a chance of 0.
    """
    if predictive == "normal":
        return (phi - believed.mean) / believed.variance.sqrt()
    freedom, variance = believed.freedom, believed.variance * (1 + 1 / believed.shadows)
    far = phi - believed.mean
    size = (freedom * torch.log1p(far**2 / variance / freedom)).sqrt()
    return far.sign() * size * (8 * freedom + 1) / (8 * freedom + 3)
