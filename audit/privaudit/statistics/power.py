"""What a sample can show: how wide the interval of a network that tells nothing would be.

A gate that holds asks for two things: a network that tells little, and a sample large enough to
say so. These functions tell the second apart from the first, before or beside an audit.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from privaudit.statistics.case import Case
from privaudit.statistics.curve import roc_curve
from privaudit.statistics.intervals import check_confidence
from privaudit.statistics.lower_bounds import usual_delta
from privaudit.statistics.metric import Metric
from privaudit.statistics.table import METRICS, named

_MOST = 1_000_000  # examples beyond which none are advised
_LARGE = 20_000  # examples that resolve every metric
_SURE = 0.9  # the chance of a fair verdict that advice on the size aims at


def half_width(metric: str, members: int, non_members: int, confidence: float = 0.95) -> float:
    """From the value of a network that tells nothing to the limit that a gate looks at.

    Taken from an audit in which members and non-members alternate as evenly as they can, half of
    each called members. Infinite where the metric cannot be told from so few.

    Args:
        metric: its name in `statistics.table`.
        members: how many are audited.
        non_members: likewise.
        confidence: of the two-sided interval.

    >>> round(half_width("auc", 100, 100), 3)  # DeLong: 1.96 · sqrt(1/12/100 + 1/12/100) = 0.080
    0.08
    """
    check_confidence(confidence)
    gated = named([metric])[0]
    value, reached = _private(metric, members, non_members, confidence)
    if value is None or reached is None:
        return float("inf")
    return abs(reached - value) if gated.gate is not None else float("inf")


def chance_kept(
    metric: str,
    limit: float,
    members: int,
    non_members: int,
    confidence: float = 0.95,
    *,
    both_sides: bool = False,
) -> float:
    """The chance that a network that tells nothing keeps a gate under one attack.

    Its estimate is taken as normal around the value of guessing, its deviation as the half-width
    over the quantile of the confidence. k attacks that do not depend on each other all keep it
    with the k-th power; attacks that agree, with the chance of one.

    Args:
        metric: its name in `statistics.table`.
        limit: of the gate.
        members: how many are audited.
        non_members: likewise.
        confidence: of the two-sided interval.
        both_sides: whether the gate judges the distance from guessing in both directions.

    >>> round(chance_kept("auc", 0.6, 100, 100), 2)
    0.69
    >>> round(chance_kept("auc", 0.6, 100, 100, both_sides=True), 2)
    0.38
    """
    check_confidence(confidence)
    gated = named([metric])[0]
    value, reached = _private(metric, members, non_members, confidence)
    if value is None or reached is None:
        return 0.0
    quantile = float(ndtri((1 + confidence) / 2))
    room = limit - reached if gated.side == "upper" else reached - limit
    deviation = abs(reached - value) / quantile
    chance = float(ndtr(room / deviation)) if deviation else float(room > 0)
    return max(2 * chance - 1, 0.0) if both_sides else chance


def smallest_resolvable(
    metric: str,
    limit: float,
    attacks: int = 1,
    confidence: float = 0.95,
    *,
    sure: float = _SURE,
    members_share: float = 0.5,
    both_sides: bool = False,
) -> int | None:
    """How many audited examples it takes for a network that tells nothing to keep a gate.

    Args:
        metric: its name in `statistics.table`.
        limit: of the gate.
        attacks: how many have to keep it, as if they did not depend on each other.
        confidence: of the two-sided interval.
        sure: the chance with which all should.
        members_share: of the examples that are members.
        both_sides: as `chance_kept`.

    Returns:
        None where no number will do, or more than a million: mostly as the limit lies on the wrong
        side of guessing.

    >>> smallest_resolvable("auc", 0.6)
    349
    """

    def enough(examples: int) -> bool:
        members = min(max(round(members_share * examples), 1), examples - 1)
        others = examples - members
        chance = chance_kept(metric, limit, members, others, confidence, both_sides=both_sides)
        return chance ** max(attacks, 1) >= sure

    gated = named([metric])[0]
    guessing, _ = _private(metric, _LARGE // 2, _LARGE // 2, confidence)
    if guessing is None or (guessing >= limit if gated.side == "upper" else guessing <= limit):
        return None
    high = 4
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def sample_sentence(
    metric: str,
    limit: float,
    members: int,
    non_members: int,
    attacks: int = 1,
    confidence: float = 0.95,
    *,
    both_sides: bool = False,
) -> str:
    """What a gate says where its sample is too small for it; empty where it is large enough.

    Too small means that a network that tells nothing breaks it in more than one audit of ten, its
    attacks taken not to depend on each other.

    >>> sample_sentence("auc", 0.6, 100, 100, 20)[-61:]
    'in 31 to 100 % of audits; about 680 audited examples would do'
    >>> sample_sentence("auc", 0.6, 2000, 2000, 20)
    ''
    """
    one = chance_kept(metric, limit, members, non_members, confidence, both_sides=both_sides)
    if one ** max(attacks, 1) >= _SURE:
        return ""
    needed = smallest_resolvable(
        metric,
        limit,
        attacks,
        confidence,
        members_share=members / (members + non_members),
        both_sides=both_sides,
    )
    if needed is None:
        return "a network that tells nothing breaks it, too, however many examples are audited"
    return (
        f"too few examples: with {members:,} members and {non_members:,} non-members a network "
        f"that tells nothing breaks it, too, in {_often(one, attacks)}; about "
        f"{_rounded(needed):,} audited examples would do"
    )


def _often(one: float, attacks: int) -> str:
    """From attacks that all agree to attacks that do not depend on each other."""
    least, most = (f"{100 * (1 - chance):.0f}" for chance in (one, one ** max(attacks, 1)))
    return f"{least} % of audits" if least == most else f"{least} to {most} % of audits"


def _rounded(count: int) -> int:
    """Up to two digits."""
    unit = int(10 ** max(len(str(count)) - 2, 0))
    return ceil(count / unit) * unit


@lru_cache(maxsize=512)
def _private(
    metric: str, members: int, non_members: int, confidence: float
) -> tuple[float | None, float | None]:
    """The value of a network that tells nothing, and the limit that a gate would look at."""
    gated = named([metric])[0]
    inside, outside = _evenly(members), _evenly(non_members)
    scores = np.concatenate([inside, outside])
    flags = np.arange(members + non_members) < members
    delta, called = usual_delta(members), scores >= 0.5
    case = Case(roc_curve(scores, flags), flags, called, confidence, delta, False, scores)
    record: dict[str, Any] = {"members": members, "non_members": non_members}
    for entry in METRICS:
        if entry is gated or entry.path == gated.judged:
            entry.write(record, case)
    reached = gated.reached(record)
    return _value(gated, record), None if reached is None else reached.limit


def _value(metric: Metric, record: dict[str, Any]) -> float | None:
    value = metric.read(record)
    if isinstance(value, dict):
        value = value["value"]
    return None if value is None else float(value)


def _evenly(count: int) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) / count
