"""The ROC curve of an attack and what is read off it, exact where scores tie.

Examples of one score can only be called members together, so a tie is one step of the curve,
never many (Fawcett 2006, "An introduction to ROC analysis", section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, expit, logit, ndtri

from privaudit.errors import PrivauditError
from privaudit.statistics.intervals import Estimate, check_confidence, clopper_pearson
from privaudit.statistics.sides import Side


@dataclass(frozen=True)
class Roc:
    """What calling every score at or above a threshold a member does, for G distinct scores.

    Attributes:
        thresholds: (G + 1,) float64: NaN, which no score reaches, then each distinct score,
            highest first.
        true_positives: (G + 1,) int64: members called members, from 0 to all.
        false_positives: (G + 1,) int64: non-members called members, from 0 to all.
    """

    thresholds: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @property
    def members(self) -> int:
        """How many members there are."""
        return int(self.true_positives[-1])

    @property
    def non_members(self) -> int:
        """How many non-members there are."""
        return int(self.false_positives[-1])

    @property
    def tpr(self) -> NDArray[np.float64]:
        """(G + 1,) true positive rates, from 0 to 1."""
        return self.true_positives / self.members

    @property
    def fpr(self) -> NDArray[np.float64]:
        """(G + 1,) false positive rates, from 0 to 1."""
        return self.false_positives / self.non_members

    def auc(self, confidence: float = 0.95) -> Estimate:
        """The chance that a member scores above a non-member, ties counting one half.

        The variance is that of DeLong, DeLong & Clarke-Pearson 1988, "Comparing the areas under
        two or more correlated receiver operating characteristic curves", by midranks as in Sun &
        Xu 2014, "Fast implementation of DeLong's algorithm". The interval is symmetric on the
        logit scale (Pepe 2003, "The statistical evaluation of medical tests", chapter 5), where
        it covers close to its nominal rate also for areas near 1.

        Where every member scores above every non-member that variance is 0 and says nothing.
        There the lower limit is the exact one of n successes in n trials, n the smaller of the
        two counts: n pairs without a common example are independent, and each would have to be
        won. No smaller area gets a higher lower limit, and by symmetry no area a lower upper
        limit than an area of 0. Where all scores are one tie, the chance t of a tie is bounded
        in the same way, and the area lies in [t / 2, 1 - t / 2]. Otherwise a single member or a
        single non-member gives no variance at all, and the interval is [0, 1].

        Where half of a side's placement values or more are alike (0/1 scores, rare hits), its
        variance hangs on the few that are not. There the interval reaches at least as far as the
        two sides' distances combined (Zou & Donner 2008, MOVER), that side's by `sides.coin_reach`.

        Args:
            confidence: of the two-sided interval.
        """
        check_confidence(confidence)
        members, non_members = self.members, self.non_members
        hits, alarms = np.diff(self.true_positives), np.diff(self.false_positives)  # (G,) a score
        # Twice the midranks, counted from the top and from the bottom, are whole numbers: exact.
        above = self.true_positives[1:] + self.true_positives[:-1]
        below = 2 * non_members - self.false_positives[1:] - self.false_positives[:-1]
        won, most = int((alarms * above).sum()), 2 * members * non_members
        value = won / most

        pairs = min(members, non_members)
        sure = clopper_pearson(pairs, pairs, confidence).low
        if won in (0, most):
            return Estimate(value, sure if won else 0.0, 1.0 if won else 1 - sure)
        if len(hits) == 1:
            return Estimate(value, sure / 2, 1 - sure / 2)
        if pairs == 1:
            return Estimate(value, 0.0, 1.0)

        sides = (Side(below, hits, 2 * non_members), Side(above, alarms, 2 * members))
        deviation = hypot(*(side.deviation(value) for side in sides))
        score = float(ndtri((1 + confidence) / 2))
        reach = score * deviation / (value * (1 - value))
        low, high = (float(expit(logit(value) + sign * reach)) for sign in (-1, 1))
        if any(side.alike for side in sides):
            reaches = [side.reach(value, score, confidence) for side in sides]
            low = min(low, max(value - hypot(*(down for down, _ in reaches)), 0.0))
            high = max(high, min(value + hypot(*(up for _, up in reaches)), 1.0))
        return Estimate(value, min(low, sure), max(high, 1 - sure))

    def tpr_at_fpr(self, fpr: float, confidence: float = 0.95) -> Estimate | None:
        """The largest true positive rate of any threshold whose false positive rate is allowed.

        Thresholds that exist, with no interpolation between them. The interval is of the true
        curve's height at `fpr`, which two things blur. Given the threshold, the members above it
        are a binomial count, with Clopper-Pearson limits; alone they covered the height in as few
        as 20 % of simulated audits, as the threshold itself hangs on a handful of non-members.
        Where the threshold might have been is known whatever the law of the scores: between two
        ranks of the non-members (order statistics). The true positive rates at those ranks are
        limits, too, and the distances to both kinds of limits are combined as the root of their
        summed squares, as in `mean_of_shares` (Zou & Donner 2008, MOVER); the largest jump of the
        curve between the ranks, where scores tie, is taken off first and added in full.

        In 330 simulated settings without ties (200 to 2,000 examples a side, rates from 0.1 to
        0.001, curves of ten shapes from pure noise to near certainty; 400 audits each) a 95 %
        interval covered in 94.8 to 100 %, 98 % on average; in 315 with scores of 2 to 300 values,
        chosen to be hard, in 93.3 to 100 %, 98.7 % on average. Half the error to each source is
        sure to cover, and did in 99.9 %, but is a third wider. Where fewer than 3.7 non-members
        are to be expected above the threshold (at 95 %) the lower limit is 0: so few do not rule
        out that it belongs above them all.

        Args:
            fpr: the largest false positive rate allowed.
            confidence: of the two-sided interval.

        Returns:
            None where the non-members are too few to resolve `fpr`: fewer than 1 / fpr.
        """
        if not 0 <= fpr <= 1:
            raise PrivauditError(f"a false positive rate must be from 0 to 1, got {fpr}")
        if 1 / self.non_members > fpr:
            return None
        # Division, not fpr * non_members: 29 / 100 is the float 0.29, but 0.29 * 100 is below 29.
        last = int(np.flatnonzero(self.fpr <= fpr)[-1])
        value = float(self.tpr[last])
        # Above the k-th highest non-member the true rate exceeds fpr with the chance that fewer
        # than k of them lie where a share fpr of all should.
        beyond = bdtr(np.arange(self.non_members + 1), self.non_members, fpr)
        tail = (1 - confidence) / 2
        ranks = int((beyond <= tail).sum()), int((beyond < 1 - tail).sum()) + 1
        # The last point above each rank; above rank 0 there is none but the first.
        first, final = np.maximum(np.searchsorted(self.false_positives, ranks) - 1, 0).tolist()
        return Estimate(
            value,
            max(value - self._reach(first, last, confidence, upper=False), 0.0),
            min(value + self._reach(last, final, confidence, upper=True), 1.0),
        )

    def _reach(self, first: int, final: int, confidence: float, *, upper: bool) -> float:
        """From the estimate to a limit, if the threshold may be any of points first to final."""
        ends = [
            clopper_pearson(int(self.true_positives[point]), self.members, confidence)
            for point in (first, final)
        ]
        count = max(end.high - end.value if upper else end.value - end.low for end in ends)
        jump = float(np.diff(self.tpr[first : final + 1]).max(initial=0.0))
        return jump + hypot(count, ends[1].value - ends[0].value - jump)

    def precision_at_k(self, k: int, confidence: float = 0.95) -> Estimate | None:
        """The share of members among the k examples scored highest.

        Where the k-th score ties, the tied examples count in proportion: the value is the mean
        over every order of the tie. A guess reaches the share of members among all examples, so
        that precision compares only where that share is equal.

        The interval is that of Clopper & Pearson 1934, at a count that ties make a fraction. It
        takes the k examples as independent draws that are members with one chance. They would be
        if the k-th score were known beforehand; as it is read off the same examples, the interval
        leaves out that another sample's k-th score gives another chance. That many members and
        non-members are given, and that ties are averaged, makes it wider than it need be. In 54
        simulated settings (200 and 2,000 examples a side, k of 10, 100 and 1,000, eleven kinds of
        scores, three of them with ties; 4,000 audits each) a 95 % interval covered the mean
        precision of such audits in 94.5 to 100 %. Where a few members stand far above all others
        and k is greater than their number, it covers least.

        Args:
            k: how many of the highest scores.
            confidence: of the two-sided interval.

        Returns:
            None where there are fewer than k examples.
        """
        if k < 1:
            raise PrivauditError(f"precision takes the 1 or more examples scored highest, got {k}")
        called = self.true_positives + self.false_positives  # (G + 1,)
        if k > called[-1]:
            return None
        last = int(np.searchsorted(called, k))
        above, tied = int(called[last - 1]), int(called[last] - called[last - 1])
        surely = int(self.true_positives[last - 1])
        tied_members = int(self.true_positives[last]) - surely
        return clopper_pearson(surely + (k - above) * tied_members / tied, k, confidence)

    def advantage(self) -> float:
        """The largest true minus false positive rate over all thresholds, from 0 to 1."""
        return float((self.tpr - self.fpr).max())


def as_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Check (N,) scores.

    Raises:
        PrivauditError: another shape, or a score is NaN.
    """
    values = np.asarray(scores).astype(np.float64)
    if values.ndim != 1:
        raise PrivauditError(f"scores must be one number an example (N,), got shape {values.shape}")
    if np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise PrivauditError(
            f"score {row} is NaN ({int(np.isnan(values).sum())} of {len(values)} are): "
            "the attack must give every example a number"
        )
    return values


def as_flags(values: ArrayLike, count: int, what: str) -> NDArray[np.bool_]:
    """Check (N,) booleans, or zeros and ones, that go with N = `count` examples.

    Raises:
        PrivauditError: another shape, or a value that is neither true nor false.
    """
    flags = np.asarray(values)
    if flags.shape != (count,):
        raise PrivauditError(
            f"{what} must hold one value for each of the {count} examples, got shape {flags.shape}"
        )
    if flags.dtype != np.bool_ and not np.isin(flags, (0, 1)).all():
        raise PrivauditError(f"{what} must be true or false (or 1 and 0) for each example")
    return flags.astype(np.bool_)


def as_membership(members: ArrayLike, count: int) -> NDArray[np.bool_]:
    """Check (N,) membership that goes with N = `count` scores.

    Raises:
        PrivauditError: as `as_flags`, or all examples, or none, are members.
    """
    flags = as_flags(members, count, "members")
    if count == 0:
        raise PrivauditError("nothing to measure: there are no examples")
    if flags.all() or not flags.any():
        raise PrivauditError(
            f"all {count} examples are {'members' if flags.all() else 'non-members'}: "
            "an attack is measured on members and non-members, so give some of both"
        )
    return flags


def roc_curve(scores: ArrayLike, members: ArrayLike) -> Roc:
    """The ROC curve from (0, 0) to (1, 1), one point for each distinct score.

    Args:
        scores: (N,), higher = likelier a member; infinite scores count as highest and lowest.
        members: (N,) bool.

    >>> curve = roc_curve([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
    >>> curve.fpr.tolist(), curve.tpr.tolist(), curve.thresholds.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0], [nan, 0.9, 0.4, 0.1])

    Raises:
        PrivauditError: a score is NaN, shapes differ, or one side is empty.
    """
    values = as_scores(scores)
    inside = as_membership(members, len(values))
    distinct, group = np.unique(-values, return_inverse=True)
    size = len(distinct)
    return Roc(
        thresholds=np.concatenate(([np.nan], -distinct)),
        true_positives=_running(group[inside], size),
        false_positives=_running(group[~inside], size),
    )


def _running(group: NDArray[np.intp], size: int) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(np.bincount(group, minlength=size)))).astype(np.int64)
