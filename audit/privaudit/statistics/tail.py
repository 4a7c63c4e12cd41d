"""What the highest losses tell of a network, without a single shadow.

Dodd et al. 2025, "The tail tells all: Estimating model-level membership inference vulnerability
without reference models" (arXiv 2510.19773): training pulls the outliers among members out of the
tail of high losses. The share of non-members that stays above (nearly) all members, the true
negative rate of a loss attack at a low false negative rate, goes with the true positive rate of
LiRA at a low false positive rate. It is an estimate and no attack: that it is small shows nothing.

What is known of the paper here is its result, second hand. Ours are the levels, the interval and
the test, and that the threshold is the loss of a member.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, gammaln, logsumexp

from privaudit.errors import PrivauditError
from privaudit.statistics.curve import as_membership, as_scores
from privaudit.statistics.intervals import Estimate, check_confidence, clopper_pearson

LEVELS = (0.01, 0.001)
"""False negative rates, which stand for false positive rates of LiRA."""


@dataclass(frozen=True)
class TailLevel:
    """The tail above all members but a few.

    Attributes:
        fnr: the largest share of members that may lie in the tail.
        allowed: how many members that is.
        beyond: how many non-members have a loss above the highest of all other members'.
        tnr: the share of non-members beyond the loss that a share `fnr` of members exceeds, with
            its interval; None where the members are too few to resolve `fnr`: fewer than 1 / fnr.
    """

    fnr: float
    allowed: int
    beyond: int
    tnr: Estimate | None


@dataclass(frozen=True)
class Tail:
    """The tails of one network's losses.

    Attributes:
        members: how many.
        non_members: how many.
        levels: one for each of `LEVELS`.
        p_value: the chance of tails as empty of members as these, at one of the levels, if losses
            told nothing of membership; exact for each level, times the number of levels.
    """

    members: int
    non_members: int
    levels: tuple[TailLevel, ...]
    p_value: float


def loss_tail(losses: ArrayLike, members: ArrayLike, *, confidence: float = 0.95) -> Tail:
    """Look for the high losses that members lack.

    The interval of a share is sure to cover: half the error goes to where the threshold lies (order
    statistics of the members' losses, whatever their law), half to the share of non-members above
    it (Clopper & Pearson 1934). A loss that ties with the threshold is not above it.

    Args:
        losses: (N,), or anything that rises with the loss; infinite ones count as highest.
        members: (N,) bool.
        confidence: of each level's two-sided interval.

    >>> tail = loss_tail([9, 8, 7, 6, 5, 1, 2, 3, 4, 0], [False] * 5 + [True] * 5)
    >>> [(level.beyond, level.tnr) for level in tail.levels]  # five members resolve no 1 %
    [(5, None), (5, None)]
    >>> round(tail.p_value, 6)  # 1 of the 252 ways to choose five of ten
    0.003968

    Raises:
        PrivauditError: a loss is NaN, shapes differ, one side is empty, or the confidence is wrong.
    """
    check_confidence(confidence)
    values = as_scores(losses)
    inside = as_membership(members, len(values))
    within, others = np.sort(values[inside])[::-1], np.sort(values[~inside])
    levels = tuple(_level(within, others, fnr, confidence) for fnr in LEVELS)
    tested = dict.fromkeys((level.allowed, level.beyond) for level in levels)
    chances = [exceedance_p(len(within), len(others), *pair) for pair in tested]
    return Tail(len(within), len(others), levels, min(1.0, len(chances) * min(chances)))


def exceedance_p(members: int, non_members: int, allowed: int, beyond: int) -> float:
    """The chance that so many non-members lie above all members but a few, by chance alone.

    At least `beyond` do exactly where at most `allowed` of the `allowed + beyond` highest losses
    are members', which is a hypergeometric count if every order of the losses is as likely.

    Args:
        members: how many.
        non_members: how many.
        allowed: members that may lie above the threshold.
        beyond: non-members above it.

    >>> round(exceedance_p(2, 2, 0, 1), 9)
    0.5

    Raises:
        PrivauditError: there are not so many members, or non-members.
    """
    if not (0 <= allowed < members and 0 <= beyond <= non_members):
        raise PrivauditError(
            f"{allowed} of {members} members and {beyond} of {non_members} non-members is no tail"
        )
    drawn, inside = allowed + beyond, np.arange(allowed + 1)
    inside = inside[drawn - inside <= non_members]
    chance = logsumexp(_log_choose(members, inside) + _log_choose(non_members, drawn - inside))
    return float(min(1.0, np.exp(chance - _log_choose(members + non_members, np.array(drawn)))))


def _log_choose(count: int, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(
        gammaln(count + 1) - gammaln(chosen + 1) - gammaln(count - chosen + 1), np.float64
    )


def _level(
    within: NDArray[np.float64], others: NDArray[np.float64], fnr: float, confidence: float
) -> TailLevel:
    members, count = len(within), len(others)
    shares = np.arange(members) / members  # by division, as in Roc.tpr_at_fpr
    allowed = int(np.flatnonzero(shares <= fnr)[-1])

    def above(rank: int) -> int:
        """How many non-members lie above the member of that rank; rank 0 is above all."""
        if rank == 0:
            return 0
        if rank > members:
            return count
        return int(count - np.searchsorted(others, within[rank - 1], side="right"))

    beyond = above(allowed + 1)
    if 1 / members > fnr:
        return TailLevel(fnr, allowed, beyond, None)
    fewer = bdtr(np.arange(members + 1), members, fnr)  # P(at most k members above)
    error = (1 - confidence) / 4
    strict, loose = int((fewer <= error).sum()), int((fewer < 1 - error).sum()) + 1
    sure = (1 + confidence) / 2
    low = clopper_pearson(above(strict), count, sure).low
    high = clopper_pearson(above(loose), count, sure).high
    return TailLevel(fnr, allowed, beyond, Estimate(beyond / count, low, high))
