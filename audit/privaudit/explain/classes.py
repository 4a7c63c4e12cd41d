"""Which classes give their members away: AUC, and the gaps that an attacker sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from privaudit.explain.scores import Audited, LevelScores
from privaudit.report.aggregate import mean_summary, within_shares
from privaudit.report.rows import Summary
from privaudit.statistics.inference import Audit, PerExample, mean_influence
from privaudit.statistics.intervals import Estimate


@dataclass(frozen=True)
class ClassExposure:
    """One class at one level, over all audits that have both members and non-members of it.

    The gaps are Yuan & Zhang's prediction divergence (2022, "Membership inference attacks and
    defenses in neural network pruning"): mean over members minus mean over non-members.

    Attributes:
        label: its number.
        name: its name.
        members: how many, over all audits.
        non_members: likewise.
        auc: of the attack within the class; each audit's interval is DeLong's. None where no
            audit has members and non-members of it.
        confidence_gap: of the probability given to the label; None where it was not kept or is
            not finite, or a side has fewer than two examples.
        sensitivity_gap: of the first-order sensitivity; None likewise.
    """

    label: int
    name: str
    members: int
    non_members: int
    auc: Summary | None
    confidence_gap: Summary | None
    sensitivity_gap: Summary | None


def exposed_classes(level: LevelScores) -> list[ClassExposure]:
    """Every class, the surest exposed first: by the lower limit of its AUC.

    Small classes have high and low AUCs by chance; their limits do not come first for that.
    """
    exposures = [_class(level, label) for label in range(len(level.classes))]
    return sorted(exposures, key=lambda exposure: (-_low(exposure.auc), exposure.label))


def welch(first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate | None:
    """The difference of two means with its 95 % interval, their variances not taken as equal.

    Welch 1947, "The generalization of 'Student's' problem when several different population
    variances are involved".

    Returns:
        None where a side has fewer than two numbers.
    """
    if min(len(first), len(second)) < 2:
        return None
    value = float(first.mean() - second.mean())
    a, b = float(first.var(ddof=1)) / len(first), float(second.var(ddof=1)) / len(second)
    if a + b == 0:
        return Estimate(value, value, value)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    reach = float(stdtrit(freedom, 0.975)) * sqrt(a + b)
    return Estimate(value, value - reach, value + reach)


def _low(auc: Summary | None) -> float:
    return -1.0 if auc is None or auc.low is None else auc.low


def _class(level: LevelScores, label: int) -> ClassExposure:
    aucs: list[Audit] = []
    confidence: list[Audit | None] = []
    sensitivity: list[Audit | None] = []
    members = non_members = 0
    for audit in level.audits:
        of_class = audit.label == label
        inside = int((of_class & audit.member).sum())
        outside = int(of_class.sum()) - inside
        members, non_members = members + inside, non_members + outside
        if inside and outside:
            aucs.append(_auc(audit, of_class))
        confidence.append(_gap(audit, of_class, audit.confidence))
        sensitivity.append(_gap(audit, of_class, audit.sensitivity))
    return ClassExposure(
        label,
        level.classes[label],
        members,
        non_members,
        within_shares(mean_summary(aucs)) if aucs else None,
        _mean(confidence),
        _mean(sensitivity),
    )


def _auc(audit: Audited, of_class: NDArray[np.bool_]) -> Audit:
    per_example = PerExample(audit.score[of_class], audit.member[of_class])
    return _audit(audit, of_class, per_example.roc.auc(), per_example.auc())


def _gap(
    audit: Audited, of_class: NDArray[np.bool_], values: NDArray[np.float64] | None
) -> Audit | None:
    if values is None or not np.isfinite(values[of_class]).all():
        return None
    inside, outside = of_class & audit.member, of_class & ~audit.member
    gap = welch(values[inside], values[outside])
    if gap is None:
        return None
    influence = np.zeros(len(values))
    influence[inside] = mean_influence(values[inside])
    influence[outside] = -mean_influence(values[outside])
    return _audit(audit, of_class, gap, influence[of_class])


def _audit(
    audit: Audited, of_class: NDArray[np.bool_], number: Estimate, influence: NDArray[np.float64]
) -> Audit:
    examples, members = audit.example[of_class], audit.member[of_class]
    return Audit(audit.seed, audit.target, number, examples, members, influence)


def _mean(audits: Sequence[Audit | None]) -> Summary | None:
    present = [audit for audit in audits if audit is not None]
    return mean_summary(present) if present else None
