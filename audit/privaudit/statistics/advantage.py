"""How far an attack's two rates come apart, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

from privaudit.statistics.curve import Roc
from privaudit.statistics.intervals import Estimate, check_confidence


@dataclass(frozen=True)
class Advantage(Estimate):
    """The largest true minus false positive rate over all thresholds, with its interval.

    Attributes:
        reversed: upper confidence limit of the same for reversed scores: how well members are
            told by being scored lower.
    """

    reversed: float


def advantage_interval(roc: Roc, confidence: float = 0.95) -> Advantage:
    """The advantage with limits that hold although its threshold was chosen in hindsight.

    Both curves lie within a band around the true ones, whatever the threshold, so that the largest
    difference is off by no more than the band's width: √(ln(2 / (1 - confidence)) / 2) · √(1/m +
    1/n) for m members and n non-members. That is the bound of Dvoretzky, Kiefer & Wolfowitz in its
    form for two samples (Wei & Dudley 2012, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities"),
    proved there for equal laws. Laws that differ vary less.

    Args:
        roc: of the attack's scores.
        confidence: of the two-sided interval.
    """
    check_confidence(confidence)
    band = sqrt(log(2 / (1 - confidence)) / 2) * sqrt(1 / roc.members + 1 / roc.non_members)
    difference = roc.tpr - roc.fpr
    value, backwards = float(difference.max()), float(-difference.min())
    return Advantage(
        value, max(value - band, 0.0), min(value + band, 1.0), min(backwards + band, 1.0)
    )
