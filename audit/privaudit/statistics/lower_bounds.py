"""The metrics that disprove privacy: lower bounds on ε, which never show that there is any."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from privaudit.statistics.metric import Absence, Metric

if TYPE_CHECKING:
    from privaudit.statistics.case import Case


def usual_delta(members: int) -> float:
    """The δ that a promise about so many members has unless it says otherwise: a tenth of 1 / n.

    At δ = 1 / n a mechanism that publishes one member in full counts as private.

    >>> usual_delta(1500)
    6.66...e-05
    """
    return 1 / (10 * max(1, members))


_CAVEAT = (
    "not disproved is not safe: a stronger attack, or more examples, may prove a larger epsilon"
)

_YOUNG = Absence(lambda metric, record: "it is not known", hides=True)

_NO_COINS = Absence(
    lambda metric, record: (
        "unknown, as no coin decided on each example's membership: say --coins if one did, "
        "or gate on epsilon"
    ),
    hides=True,
)


# NumPy is imported with the first measurement: `privaudit report --help` reads this table.
def _independent(case: Case) -> float:
    from privaudit.statistics.epsilon import epsilon_lower_bound

    return epsilon_lower_bound(
        case.scores, case.members, confidence=case.confidence, delta=case.delta
    )


def _one_run(case: Case) -> float | None:
    from privaudit.statistics.epsilon import one_run_epsilon

    if not case.coins:
        return None
    return one_run_epsilon(case.scores, case.members, confidence=case.confidence, delta=case.delta)


def _gaussian(case: Case) -> float | None:
    from privaudit.statistics.gaussian_epsilon import gaussian_one_run_epsilon

    if not case.coins or not case.delta:
        return None
    return gaussian_one_run_epsilon(
        case.scores, case.members, confidence=case.confidence, delta=case.delta
    )


def _bound(
    name: str,
    value: Callable[[Case], float | None],
    heading: tuple[str, ...],
    absence: Absence,
    legend: str,
    shown: bool = True,
) -> Metric:
    return Metric(
        name=name,
        path=(name,),
        value=value,
        interval=False,
        heading=heading,
        absence=absence,
        scale=1,
        digits=2,
        cell="mean",
        legend=legend,
        beside="epsilon" if shown else "",
        in_audit=shown,
        gate="<",
        bound=True,
        bounds=(0.0, inf),
        caveat=_CAVEAT,
    )


LOWER_BOUNDS: tuple[Metric, ...] = (
    _bound(
        "epsilon",
        _independent,
        ("epsilon", "at least"),
        _YOUNG,
        "epsilon at least: what the attack proves about the network's epsilon, at the delta that "
        "is promised or else one over ten times the members, if members were drawn at random and "
        "scores count as independent. A small one shows a weak attack or few examples, never "
        "privacy.",
    ),
    _bound(
        "one_run_epsilon",
        _one_run,
        ("one-run epsilon", "at least"),
        _NO_COINS,
        "one-run epsilon at least: the same without independent scores, where a coin decided on "
        "each example's membership.",
    ),
    _bound(
        "gaussian_epsilon",
        _gaussian,
        ("Gaussian epsilon", "at least"),
        _NO_COINS,
        "Gaussian epsilon at least: one-run epsilon for noise that hides an example as one "
        "Gaussian would (f-DP), which many noisy steps do nearly, and not exactly.",
        shown=False,
    ),
)
"""In the order of reports."""
