"""The table of metrics: a new one is an entry here, and a function that measures it.

`metrics.evaluate`, results on disk, reports, gates and help texts read it. NumPy is not imported
here, so that `privaudit report --help` can read it at once; `Metric` says what each field means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from privaudit.statistics.lower_bounds import LOWER_BOUNDS
from privaudit.statistics.metric import Absence, Metric

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    from privaudit.statistics.case import Case
    from privaudit.statistics.inference.influence import PerExample
    from privaudit.statistics.intervals import Estimate

RATES = ("0.1", "0.01", "0.001", "0.0001")
"""The false positive rates of every audit, as JSON keys."""

CUTS = ("10", "100", "1000")
"""How many of the highest scores every audit takes, as JSON keys."""


def defense(accuracy: float) -> float:
    """How well a network withstood an attack: 1 where the attacker guesses, 0 where it is right.

    D = 2 (1 - a), a the attack's accuracy on equally many members and non-members, that is its
    balanced accuracy; Gonon et al. 2023, "Sparsity can improve privacy of neural networks".
    The paper's D lies in [0, 1]; here an attack that does worse than guessing (a < 1/2) leaves
    more than 1. Cut off there, a mean over networks would be too low, and an attack that is wrong
    as a rule, which tells members as surely as one that is right, would look like a guess.

    >>> round(defense(0.585), 6), defense(0.5), defense(1.0), defense(0.25)
    (0.83, 1.0, 0.0, 1.5)
    """
    return 2 * (1 - accuracy)


_UNKNOWN = Absence(lambda metric, record: "it is not known", hides=True)

_UNDECIDED = Absence(
    lambda metric, record: "unknown, as no threshold was chosen: give shadows, or gate on auc",
    hides=True,
    report="No defense for {attacks}: the attack chose no threshold to be judged at.",
    audit="No balanced accuracy for {attacks}: no threshold was chosen on shadows.",
)

_UNRESOLVABLE = Absence(
    lambda metric, record: (
        f"not resolvable with {record['non_members']} non-members: "
        f"it takes {round(1 / float(metric.path[-1]))} or more"
    ),
    sign="n/r",
    report="n/r: not resolvable with this many non-members.",
    audit="n/r: not resolvable with this many non-members.",
)

_TOO_FEW = Absence(
    lambda metric, record: (
        f"{record['members'] + record['non_members']} examples are too few: "
        f"it takes {metric.path[-1]} or more"
    ),
    report="No {metrics} for {attacks}: fewer examples than that were audited, or the run is older "
    "than this metric.",
)

_IN_HINDSIGHT = "has no confidence interval to judge by: use auc, balanced_accuracy or advantage"


def _defense(case: Case) -> float | None:
    return None if case.accuracy is None else defense(case.accuracy.value)


def _defense_influence(examples: PerExample) -> NDArray[float64] | None:
    accuracy = examples.accuracy()
    return None if accuracy is None else -2 * accuracy


def _tpr(rate: str) -> Metric:
    def value(case: Case) -> Estimate | None:
        return case.roc.tpr_at_fpr(float(rate), case.confidence)

    return Metric(
        name=f"tpr@{rate}",
        path=("tpr_at_fpr", rate),
        value=value,
        interval=True,
        heading=("TPR %", f"@ {100 * float(rate):g} %"),
        absence=_UNRESOLVABLE,
        cell="mean",
        influence=lambda examples: examples.tpr(float(rate)),
        by_default=rate in ("0.01", "0.001"),
        in_audit=True,
        gate="<",
        required=True,
    )


def _precision(cut: str) -> Metric:
    def value(case: Case) -> Estimate | None:
        return case.roc.precision_at_k(int(cut), case.confidence)

    return Metric(
        name=f"precision@{cut}",
        path=("precision_at_k", cut),
        value=value,
        interval=True,
        heading=("precision %", f"@ {cut}"),
        absence=_TOO_FEW,
        legend="precision@k: the share of members among the k examples scored highest; an attacker "
        "who guesses reaches the share of members among all examples.",
        gate="<",
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        name="defense",
        path=("defense",),
        value=_defense,
        interval=False,
        heading=("defense %",),
        absence=_UNDECIDED,
        cell="deviation",
        legend="defense = 2 (1 - attack accuracy): 100 % where the attacker guesses, 0 % where it "
        "is always right, at the threshold it chose on its shadows; above 100 % it is wrong more "
        "often than right, and far above that is a leak, too.",
        by_default=True,
        marked=True,
        gate=">",
        judged=("balanced_accuracy",),
        limit=lambda accuracy: defense(accuracy["high"]),
        reversed=lambda accuracy: defense(1 - accuracy["low"]),
        limits=lambda accuracy: (2 * (1 - accuracy["high"]), 2 * (1 - accuracy["low"])),
        influence=_defense_influence,
        verdict=True,
        required=True,
    ),
    Metric(
        name="auc",
        path=("auc",),
        value=lambda case: case.roc.auc(case.confidence),
        interval=True,
        influence=lambda examples: examples.auc(),
        heading=("AUC",),
        absence=_UNKNOWN,
        scale=1,
        digits=3,
        by_default=True,
        in_audit=True,
        gate="<",
        reversed=lambda auc: 1 - auc["low"],
        required=True,
    ),
    Metric(
        name="balanced_accuracy",
        path=("balanced_accuracy",),
        value=lambda case: case.accuracy,
        interval=True,
        influence=lambda examples: examples.accuracy(),
        heading=("balanced", "accuracy %"),
        absence=_UNDECIDED,
        in_audit=True,
        gate="<",
        reversed=lambda accuracy: 1 - accuracy["low"],
        verdict=True,
        required=True,
        bare=True,
    ),
    Metric(
        name="best_balanced_accuracy",
        path=("best_balanced_accuracy",),
        value=lambda case: (1 + case.roc.advantage()) / 2,
        interval=False,
        heading=("best balanced", "accuracy %"),
        absence=_UNKNOWN,
        cell="deviation",
        ungated=_IN_HINDSIGHT,
        required=True,
    ),
    Metric(
        name="advantage",
        path=("advantage",),
        value=lambda case: case.advantage,
        interval=True,
        heading=("advantage %",),
        absence=_UNKNOWN,
        cell="deviation",
        gate="<",
        reversed=lambda advantage: advantage["reversed"],
        required=True,
        bare=True,
    ),
    *map(_tpr, RATES),
    *map(_precision, CUTS),
    *LOWER_BOUNDS,
)
"""Every metric, in the order of reports."""


def names(wanted: Callable[[Metric], object] = lambda metric: True) -> list[str]:
    """The names of all metrics, or of those that are wanted, in the order of reports.

    >>> names(lambda metric: metric.by_default)
    ['defense', 'auc', 'tpr@0.01', 'tpr@0.001']
    """
    return [metric.name for metric in METRICS if wanted(metric)]


def named(wanted: Iterable[str]) -> list[Metric]:
    """The metrics of these names, in their order.

    Raises:
        KeyError: there is no such metric.
    """
    by_name = {metric.name: metric for metric in METRICS}
    return [by_name[name] for name in wanted]


def spelled(text: str) -> Metric | None:
    """The metric of that name, its number after @ spelled in any way; None if there is none.

    >>> [metric and metric.name for metric in map(spelled, ("tpr@1e-2", "precision@1e2", "tpr"))]
    ['tpr@0.01', 'precision@100', None]
    """
    wanted = _spelling(text)
    return next((metric for metric in METRICS if _spelling(metric.name) == wanted), None)


def _spelling(name: str) -> tuple[str, str, str | float]:
    family, at, number = name.partition("@")
    try:
        return family, at, float(number)
    except ValueError:
        return family, at, number


def changing() -> Metric:
    """The metric whose changes against the baseline are marked."""
    return next(metric for metric in METRICS if metric.marked)
