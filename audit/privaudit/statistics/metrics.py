"""How well an attack told members from non-members: the numbers of an audit.

Shares are from 0 to 1; what has an interval is an `Estimate`, whose limits say how they were
found. Scores and membership may be NumPy arrays, torch tensors on the CPU, or lists.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from privaudit.statistics import table
from privaudit.statistics.case import Case, balanced_accuracy
from privaudit.statistics.curve import Roc, as_membership, roc_curve
from privaudit.statistics.epsilon import epsilon_lower_bound, one_run_epsilon
from privaudit.statistics.gaussian_epsilon import gaussian_one_run_epsilon
from privaudit.statistics.intervals import (
    Estimate,
    bootstrap_mean,
    clopper_pearson,
    disjoint,
    mean_std,
)
from privaudit.statistics.lower_bounds import usual_delta
from privaudit.statistics.table import CUTS, RATES, defense

__all__ = [
    "CUTS",
    "RATES",
    "Estimate",
    "Roc",
    "advantage",
    "balanced_accuracy",
    "best_balanced_accuracy",
    "bootstrap_mean",
    "clopper_pearson",
    "defense",
    "disjoint",
    "epsilon_lower_bound",
    "evaluate",
    "gaussian_one_run_epsilon",
    "mean_std",
    "one_run_epsilon",
    "precision_at_k",
    "roc_auc",
    "roc_curve",
    "tpr_at_fpr",
]


def roc_auc(scores: ArrayLike, members: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """The chance that a member scores above a non-member, with DeLong's interval (`Roc.auc`).

    Args:
        scores: (N,), higher = likelier a member.
        members: (N,) bool.
        confidence: of the two-sided interval.

    >>> roc_auc([5, 4, 3, 2, 2, 1], [True, True, False, True, False, False])
    Estimate(value=0.833333..., low=0.248548..., high=1.0)
    >>> roc_auc([3, 2, 1, 0], [True, True, False, False])  # four examples prove little
    Estimate(value=1.0, low=0.158113..., high=1.0)

    Raises:
        PrivauditError: a score is NaN, shapes differ, or one side is empty.
    """
    return roc_curve(scores, members).auc(confidence)


def tpr_at_fpr(
    scores: ArrayLike, members: ArrayLike, fpr: float, confidence: float = 0.95
) -> Estimate | None:
    """The share of members found while at most a share `fpr` of non-members is called members.

    Carlini et al. 2022, "Membership inference attacks from first principles", section III; the
    threshold and the interval are those of `Roc.tpr_at_fpr`.

    Args:
        scores: (N,), higher = likelier a member.
        members: (N,) bool.
        fpr: the largest false positive rate allowed.
        confidence: of the two-sided interval.

    Returns:
        None where the non-members are too few to resolve `fpr`: fewer than 1 / fpr.

    >>> scores, members = [4, 3, 3, 2, 1, 0], [True, True, False, True, False, False]
    >>> tpr_at_fpr(scores, members, 0.4)
    Estimate(value=1.0, low=0.0, high=1.0)
    >>> print(tpr_at_fpr(scores, members, 0.1))  # three non-members cannot show 10 %
    None

    Raises:
        PrivauditError: a score is NaN, shapes differ, or one side is empty.
    """
    return roc_curve(scores, members).tpr_at_fpr(fpr, confidence)


def precision_at_k(
    scores: ArrayLike, members: ArrayLike, k: int, *, confidence: float = 0.95
) -> Estimate | None:
    """The share of members among the k examples scored highest (`Roc.precision_at_k`).

    It depends on how many of the examples are members: an attacker who guesses reaches their share.

    Args:
        scores: (N,), higher = likelier a member.
        members: (N,) bool.
        k: how many of the highest scores.
        confidence: of the two-sided interval.

    Returns:
        None where there are fewer than k examples.

    >>> scores, members = [5, 4, 3, 3, 2, 1], [True, False, True, False, False, False]
    >>> precision_at_k(scores, members, 2)
    Estimate(value=0.5, low=0.012579..., high=0.987420...)
    >>> precision_at_k(scores, members, 3).value  # of the two that tie, half a member is expected
    0.5
    >>> print(precision_at_k(scores, members, 10))
    None

    Raises:
        PrivauditError: a score is NaN, shapes differ, one side is empty, or k is below 1.
    """
    return roc_curve(scores, members).precision_at_k(k, confidence)


def advantage(scores: ArrayLike, members: ArrayLike) -> float:
    """The largest true minus false positive rate over all thresholds, from 0 to 1.

    Yeom et al. 2018, "Privacy risk in machine learning", section III, at the best threshold in
    hindsight: it looks at the membership it is measured on, so noise alone lifts it above 0.

    >>> advantage([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
    0.5

    Raises:
        PrivauditError: a score is NaN, shapes differ, or one side is empty.
    """
    return roc_curve(scores, members).advantage()


def best_balanced_accuracy(scores: ArrayLike, members: ArrayLike) -> float:
    """The balanced accuracy of the best threshold in hindsight, from 0.5 to 1.

    No attacker has that threshold: it is chosen on the membership it is measured on.

    >>> best_balanced_accuracy([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
    0.75

    Raises:
        PrivauditError: a score is NaN, shapes differ, or one side is empty.
    """
    return (1 + advantage(scores, members)) / 2


def evaluate(
    scores: ArrayLike,
    members: ArrayLike,
    decision: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    delta: float | None = None,
    coins: bool = False,
) -> dict[str, Any]:
    """Every metric of one attack on one network, ready for JSON.

    Args:
        scores: (N,), higher = likelier a member.
        members: (N,) bool.
        decision: (N,) bool, the attacker's own verdict, its threshold chosen without the
            membership it is judged on; None where the attack gives none.
        confidence: of every interval, two-sided, and of the bounds on ε, one-sided.
        delta: δ of the bounds on ε; one over ten times the members if not given.
        coins: whether the membership of each example was decided by a fair coin of its own, which
            `one_run_epsilon` needs.

    Returns:
        Each metric of `table.METRICS` at its path, None where it cannot be told, and the counts
        `members` and `non_members`; `delta`; `provable`, what a perfect attack on as many examples
        would prove, by the names of the bounds on ε; `distinct_scores`, and `largest_tie`, the
        share of examples that have the commonest of them; `largest_verdict`, likewise of the
        decision, None without one. `defense` and `balanced_accuracy` take a
        decision: the best threshold in hindsight is no substitute, as it has seen the answers.

    >>> metrics = evaluate([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0], decision=[1, 0, 0, 0])
    >>> metrics["defense"], metrics["auc"]["value"], metrics["tpr_at_fpr"]["0.01"]
    (0.5, 1.0, None)

    Raises:
        PrivauditError: a score is NaN, shapes differ, or one side is empty.
    """
    roc = roc_curve(scores, members)
    inside = as_membership(members, roc.members + roc.non_members)
    delta = usual_delta(roc.members) if delta is None else delta
    case = Case(roc, inside, decision, confidence, delta, coins, scores)
    record: dict[str, Any] = {}
    for metric in table.METRICS:
        metric.write(record, case)
    counts = roc.members, roc.non_members
    called = np.diff(roc.true_positives + roc.false_positives)  # (G,) examples of each score
    return {
        **record,
        "members": roc.members,
        "non_members": roc.non_members,
        "delta": delta,
        "provable": {
            metric.name: _provable(metric.name, *counts, confidence, delta, coins)
            for metric in table.METRICS
            if metric.bound and metric.read(record) is not None
        },
        "distinct_scores": len(called),
        "largest_tie": float(called.max() / called.sum()),
        "largest_verdict": None if decision is None else _commonest(decision),
    }


def _commonest(decision: ArrayLike) -> float:
    """The share of examples about which the commoner verdict is given."""
    yes = float(np.asarray(decision, dtype=bool).mean())
    return max(yes, 1 - yes)


@lru_cache(maxsize=64)
def _provable(
    name: str, members: int, non_members: int, confidence: float, delta: float, coins: bool
) -> Estimate | float | None:
    """A metric of the attack that scores every member above all non-members."""
    scores = np.arange(members + non_members)
    inside = scores >= non_members
    case = Case(roc_curve(scores, inside), inside, None, confidence, delta, coins, scores)
    return table.named([name])[0].value(case)
