"""What each example contributes to an audit's number: influence values, exact where scores tie.

The influence values of a number sum to 0 over members and over non-members, and their squares sum
to its variance over fresh examples. Those of two numbers about the same examples, multiplied
example by example, sum to the covariance of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from privaudit.statistics.curve import Roc, roc_curve

Values = NDArray[np.float64]


@dataclass(frozen=True)
class PerExample:
    """One attack on one network, example by example.

    Attributes:
        scores: (n,) float64, higher = likelier a member.
        members: (n,) bool.
        decision: (n,) bool, the attacker's own verdict; None where it is not known.
    """

    scores: Values
    members: NDArray[np.bool_]
    decision: NDArray[np.bool_] | None = None

    @cached_property
    def roc(self) -> Roc:
        """The curve of the scores."""
        return roc_curve(self.scores, self.members)

    def auc(self) -> Values:
        """(n,) influence on the AUC: placement values of DeLong et al. 1988, less their mean."""
        inside, outside = self.scores[self.members], self.scores[~self.members]
        return self._by_side(_beaten(inside, outside), 1 - _beaten(outside, inside))

    def accuracy(self) -> Values | None:
        """(n,) influence on the balanced accuracy; None without a decision."""
        if self.decision is None:
            return None
        right = (self.decision == self.members).astype(np.float64)
        return self._by_side(right[self.members] / 2, right[~self.members] / 2)

    def tpr(self, fpr: float) -> Values | None:
        """(n,) influence on the true positive rate at a false positive rate; None if too few.

        Members count by being above the threshold. Non-members move the threshold, and with it the
        rate, by the slope of the curve there (Hsieh & Turnbull 1996, "Nonparametric and
        semiparametric estimation of the receiver operating characteristic curve", theorem 2.2),
        here between the points one standard deviation of the false positives apart.
        """
        roc = self.roc
        if 1 / roc.non_members > fpr:
            return None
        last = int(np.flatnonzero(roc.fpr <= fpr)[-1])
        if last == 0:
            return np.zeros(len(self.scores))  # nobody is called a member
        called = (self.scores >= roc.thresholds[last]).astype(np.float64)
        step = max(sqrt(fpr * (1 - fpr) / roc.non_members), 1 / roc.non_members)
        ends = max(fpr - step, 0.0), min(fpr + step, 1.0)
        low, high = np.interp(ends, roc.fpr, roc.tpr)
        slope = float(high - low) / (ends[1] - ends[0])
        return self._by_side(called[self.members], -slope * called[~self.members])

    def _by_side(self, inside: Values, outside: Values) -> Values:
        influence = np.empty(len(self.scores))
        influence[self.members] = mean_influence(inside)
        influence[~self.members] = mean_influence(outside)
        return influence


Influence = Callable[[PerExample], Values | None]
"""Makes the (n,) influence values of one metric; None where they cannot be told."""


def mean_influence(values: Values) -> Values:
    """(n,) influence of each value on their mean: the squares sum to s² / n (n - 1 inside s²)."""
    count = len(values)
    apart: Values = (values - values.mean()) / sqrt(count * max(count - 1, 1))
    return apart


def _beaten(scores: Values, others: Values) -> Values:
    """(n,) the share of the others that lie below each score, ties counting one half."""
    ordered = np.sort(others)
    left, right = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    shares: Values = (left + right) / (2 * len(others))
    return shares
