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

from privaudit.reductions import blocks

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
class Side:
    """φ over the shadows of one side: count (T, 1, b); mean, squares (T, Q, b)."""

    count: Tensor
    mean: Tensor
    squares: Tensor


@dataclass(frozen=True)
class _Pooled:
    """What all examples and queries have in common, for each target (T,).

    Attributes:
        variances: within examples, of each side.
        shift: how far φ with the example lies above the mean φ without it.
        spread: the mean square of φ with the example around that mean plus the shift.
    """

    variances: tuple[Tensor, ...]
    shift: Tensor
    spread: Tensor


def likelihood_ratios(
    target: Tensor,
    shadows: Shadows,
    *,
    online: bool,
    per_example: bool,
    center: Center,
    pooled: bool = False,
) -> Tensor:
    """The scores of Carlini et al. 2022: algorithm 1 online, its one-sided variant offline.

    The paper fits one Gaussian to the vector of all queries. Here its covariance is diagonal, as
    in the authors' code, which takes the mean of the queries' log-likelihoods: a full matrix would
    take more shadows than queries on each side of each example. So log-likelihoods, or offline
    log-probabilities, are summed over queries. The sum S of log-probabilities, which rounds to 0
    for everyone far above the out-shadows, is returned as -log(-S). Variances lie around the mean
    whatever the center, per example with n in the denominator (as in the authors' code), global
    ones over all examples and queries with the n - 1 of each example.

    The paper has in- and out-shadows for every example. Where some lack in-shadows, `pooled` puts
    in the place of their Gaussian the one that shadows with the example follow on average, seen
    from those without it. So their scores stay likelihood ratios and compare with the others';
    log-probabilities, the offline scores, are another scale.

    Args:
        target: (T, Q, n) float64: φ of each target.
        shadows: K of them.
        online: log N(φ; in) - log N(φ; out), else -log(-log Pr[N(out) < φ]).
        per_example: one variance for each example, query and side, else one for each side.
        center: of each Gaussian.
        pooled: online, examples with too few in-shadows take the Gaussian of all.

    Returns:
        (T, n) float64, higher = likelier a member; NaN where there are no shadows to tell.
    """
    shared = _pool(shadows, online) if pooled or not per_example else None
    least = 2 if per_example else 1
    score = torch.empty((len(target), target.shape[-1]), dtype=torch.float64)
    for block in shadows.blocks():
        phi = target[..., block]
        fits = []
        for number, which in enumerate(shadows.sides(online)):
            side = describe(shadows, which, block)
            mean = side.mean if center == "mean" else _medians(shadows, which, block)
            variance = side.squares / side.count
            if shared is not None and not per_example:
                variance = _wide(shared.variances[number])
            variance = variance.where(side.count >= least, torch.nan).clamp_min(_LEAST)
            fits.append((phi - mean, variance, side.count))
        far, var_out, _ = fits[-1]
        if online:
            near, var_in, count = fits[0]
            if pooled and shared is not None:
                near = near.where(count >= least, far - _wide(shared.shift))
                var_in = var_in.where(count >= least, _wide(shared.spread).clamp_min(_LEAST))
            ratio = (far**2 / var_out + var_out.log() - near**2 / var_in - var_in.log()) / 2
            score[:, block] = ratio.sum(dim=1)
        else:
            score[:, block] = -_log_rarity(far / var_out.sqrt()).logsumexp(dim=1)
    return score


def _log_rarity(z: Tensor) -> Tensor:
    """The logarithm of -log Pr[N(0, 1) < z], which itself rounds to 0 from z = 38.5 on."""
    # Far out, -log(1 - p) is p, which log_ndtr gives by its logarithm.
    far = z > 8
    log_p = torch.special.log_ndtr(torch.where(far, -z, z))
    return torch.where(far, log_p, (-log_p).log())


def _wide(values: Tensor) -> Tensor:
    """(T,) values beside (T, Q, b)."""
    return values[:, None, None]


def describe(shadows: Shadows, which: Tensor, block: slice) -> Side:
    """Count, mean and squares around the mean of the shadows on one side of a block of examples.

    Args:
        shadows: all of them.
        which: (K, n) bool, those of the side.
        block: the examples.
    """
    phi, which, kept = shadows.phi[..., block], which[:, block], shadows.kept.double()
    weight = which.double()
    first = weight.argmax(0).expand(1, phi.shape[1], -1)
    origin = phi.gather(0, first)  # (1, Q, b)
    away = (phi - origin) * weight[:, None]
    count = (kept @ weight)[:, None]
    shift = (kept @ away.flatten(1)).view(-1, *away.shape[1:]) / count
    squares = (kept @ away.square_().flatten(1)).view(shift.shape) - count * shift**2
    return Side(count, origin + shift, squares.clamp_min(0))


def _pool(shadows: Shadows, online: bool) -> _Pooled:
    sides = shadows.sides(online)
    queries, targets = shadows.phi.shape[1], len(shadows.kept)
    squares, freedom = torch.zeros(2, len(sides), targets, dtype=torch.float64)
    weight, moved, around = torch.zeros(3, targets, dtype=torch.float64)
    for block in shadows.blocks():
        described = [describe(shadows, which, block) for which in sides]
        for number, side in enumerate(described):
            squares[number] += side.squares.nansum((1, 2))
            freedom[number] += queries * (side.count - 1).clamp_min(0).sum((1, 2))
        if online:
            inside, outside = described
            # NaN where one side is empty: nothing is known of the distance there.
            distance = inside.mean - outside.mean
            count = inside.count.expand_as(distance).where(~distance.isnan(), 0.0)
            weight += count.sum((1, 2))
            moved += (count * distance).nansum((1, 2))
            around += (inside.squares + count * distance**2).nansum((1, 2))
    shift = moved / weight
    return _Pooled(tuple(squares / freedom), shift, around / weight - shift**2)


def _medians(shadows: Shadows, which: Tensor, block: slice) -> Tensor:
    phi, which = shadows.phi[..., block], which[:, block]
    found = [
        phi.where((which & kept[:, None])[:, None], torch.nan).nanquantile(0.5, dim=0)
        for kept in shadows.kept
    ]
    return torch.stack(found)
