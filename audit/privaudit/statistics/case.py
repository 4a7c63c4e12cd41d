"""One attack on one network, as metrics look at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privaudit.statistics.advantage import Advantage, advantage_interval
from privaudit.statistics.curve import Roc, as_flags, as_membership
from privaudit.statistics.intervals import Estimate, clopper_pearson, mean_of_shares


@dataclass(frozen=True)
class Case:
    """What every metric is made from.

    Attributes:
        roc: the curve of the attack's scores.
        members: (N,) bool.
        decision: (N,) bool, the attacker's own verdict; None where it gives none.
        confidence: of every two-sided interval, and of every one-sided bound.
        delta: δ of the privacy that is tested.
        coins: whether the membership of each example was decided by a fair coin of its own.
        scores: (N,), as the curve has them.
    """

    roc: Roc
    members: NDArray[np.bool_]
    decision: ArrayLike | None
    confidence: float
    delta: float
    coins: bool
    scores: ArrayLike

    @property
    def advantage(self) -> Advantage:
        """The largest difference of the two rates, with its interval."""
        return advantage_interval(self.roc, self.confidence)

    @cached_property
    def accuracy(self) -> Estimate | None:
        """The balanced accuracy of the decision; None without one.

        The best threshold in hindsight is no substitute, as it has seen the answers.
        """
        if self.decision is None:
            return None
        return balanced_accuracy(self.decision, self.members, confidence=self.confidence)


def balanced_accuracy(
    decision: ArrayLike, members: ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """The mean of the shares of members and of non-members that were called right.

    The interval combines the Clopper-Pearson intervals of the two shares (`mean_of_shares`).

    Args:
        decision: (N,) bool, the attacker's verdict: True = member.
        members: (N,) bool.
        confidence: of the two-sided interval.

    >>> balanced_accuracy([True, True, False, False], [True, True, True, False])
    Estimate(value=0.833333..., low=0.268039..., high=0.995798...)

    Raises:
        PrivauditError: shapes differ, or one side is empty.
    """
    inside = as_membership(members, np.asarray(members).size)
    right = as_flags(decision, len(inside), "decision") == inside
    return mean_of_shares(
        clopper_pearson(int(right[inside].sum()), int(inside.sum()), confidence),
        clopper_pearson(int(right[~inside].sum()), int((~inside).sum()), confidence),
    )
