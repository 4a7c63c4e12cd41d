"""What a metric is: all that evaluation, reports, gates and help texts have to know about it.

NumPy is not imported here, so that `privaudit report --help` can read the table at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from privaudit.statistics.case import Case
    from privaudit.statistics.inference.influence import Influence
    from privaudit.statistics.intervals import Estimate

Record = Mapping[str, Any]
"""The metrics of one attack on one network, as `metrics.evaluate` makes them."""

ONE_VERDICT = 0.99
"""The share of examples with one verdict above which an attack has not told any apart."""

_MISSING = object()


@dataclass(frozen=True)
class Absence:
    """Why a number may not be known, and how that is said. Metrics of one family share it.

    Attributes:
        reason: what a gate says of a number that is null, and what to do; it is given the metric
            and the record.
        sign: stands in the cells of a table; None: the format's own sign for nothing.
        hides: whether a column without a single number is left out of a table.
        report: below a report in which it happens; {metrics} are the names of those that lack a
            number, {attacks} the labels of the attacks that lack one. Empty: nothing.
        audit: the same below the table of `privaudit audit`.
    """

    reason: Callable[[Metric, Record], str]
    sign: str | None = None
    hides: bool = False
    report: str = ""
    audit: str = ""


@dataclass(frozen=True)
class Reached:
    """What a gate is held against.

    Attributes:
        limit: the confidence limit that speaks against the network.
        reversed: whether it is that of the attack with its scores reversed.
    """

    limit: float
    reversed: bool = False


@dataclass(frozen=True)
class Metric:
    """One number about one attack on one network: how it is made, kept, shown and judged.

    Attributes:
        name: in reports, gates and help; a family's begin alike: "tpr@0.01", "tpr@0.001".
        path: where it lies in the record: one key, or the family's and its own.
        value: measures it: an `Estimate` if `interval`, otherwise a number; None where it cannot
            be told.
        interval: whether it has a confidence interval.
        heading: the lines above its column, with % as it is.
        absence: what is said where it is not known.
        scale: what a share is multiplied by in a table: 100 for per cent, 1 as it is.
        digits: after the point, in a table.
        cell: what a report's cell shows beside the mean over seeds: its interval, the standard
            deviation, or nothing.
        legend: a sentence below reports that show it; one that a family shares is said once.
        by_default: whether reports show it without being asked.
        beside: the note beside which reports show it without being asked; empty: none.
        in_audit: whether the table of `privaudit audit` shows it.
        marked: whether ▲ and ▼ mark its changes against the baseline. True for one metric, which
            stands for all of an attack.
        bound: whether the number is a confidence limit by itself, which a gate looks at: one that
            is exceeded for sure, so that a gate that it keeps is not disproved, and no more.
        bounds: strictly between which a gate's number lies.
        caveat: what has to be said after a gate that it keeps.
        gate: the sign of a gate on it: "<" is kept by the upper confidence limit, ">" by the
            lower one; None: it cannot be judged.
        ungated: why it cannot be, after its name, and what to use instead.
        judged: where the interval lies whose limit a gate looks at; its own if not given.
        limit: from that interval to the limit; if not given, its upper limit for "<" and its
            lower one for ">".
        reversed: from that interval to the limit of the same attack with its scores reversed, as
            a leak in the wrong direction is a leak; None: it has no such direction.
        limits: from that interval to the metric's own lower and upper limit, where it has no
            interval of its own.
        influence: what each example contributes to it, for the interval of its mean over audits
            that share examples; None: not known, and then the interval is wider.
        verdict: whether it is made of the attack's own verdict on each example.
        required: whether every result ever written has it; a later one lacks it in older files,
            where it counts as not known.
        bare: whether files of before it had an interval hold the number alone.
    """

    name: str
    path: tuple[str, ...]
    value: Callable[[Case], Estimate | float | None]
    interval: bool
    heading: tuple[str, ...]
    absence: Absence
    scale: int = 100
    digits: int = 1
    cell: Literal["interval", "deviation", "mean"] = "interval"
    legend: str = ""
    by_default: bool = False
    beside: str = ""
    bound: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)
    caveat: str = ""
    in_audit: bool = False
    marked: bool = False
    gate: Literal["<", ">"] | None = None
    ungated: str = ""
    judged: tuple[str, ...] = ()
    limit: Callable[[Mapping[str, float]], float] | None = None
    reversed: Callable[[Mapping[str, float]], float] | None = None
    limits: Callable[[Mapping[str, float]], tuple[float, float]] | None = None
    influence: Influence | None = None
    verdict: bool = False
    required: bool = False
    bare: bool = False

    @property
    def side(self) -> Literal["upper", "lower"]:
        """The confidence limit that must keep a gate."""
        return "lower" if self.gate == ">" else "upper"

    def write(self, record: dict[str, Any], case: Case) -> None:
        """Measure it, and put it where it lies in the record, as JSON has it."""
        *family, key = self.path
        for name in family:
            record = record.setdefault(name, {})
        value = self.value(case)
        record[key] = value if value is None or isinstance(value, (int, float)) else asdict(value)

    def read(self, record: Record) -> Any:
        """The number, or its interval as a mapping; None where it is not known, or missing."""
        return _at(record, self.path)

    def reached(self, record: Record) -> Reached | None:
        """The confidence limit that a gate looks at; None where there is none."""
        interval = _at(record, self.judged or self.path)
        if self.bound:
            return None if interval is None else Reached(float(interval))
        if not isinstance(interval, Mapping):
            return None
        if self.limit is not None:
            ahead = self.limit(interval)
        else:
            ahead = float(interval["low" if self.side == "lower" else "high"])
        if self.reversed is None:
            return Reached(ahead)
        back = self.reversed(interval)
        worse = back < ahead if self.side == "lower" else back > ahead
        return Reached(back, True) if worse else Reached(ahead)

    def interval_of(self, record: Record) -> tuple[float, float] | None:
        """Its lower and upper confidence limit; None where it has none."""
        own = self.read(record)
        if isinstance(own, Mapping):
            return float(own["low"]), float(own["high"])
        judged = _at(record, self.judged) if self.judged else None
        if own is None or self.limits is None or not isinstance(judged, Mapping):
            return None
        return self.limits(judged)

    def unresolvable(self, record: Record, limit: float) -> str:
        """Why a gate at this limit could not break; empty where it could.

        A verdict that is one for all examples is right about half of them whatever the network
        tells. A lower bound is limited by the number of examples: a gate above what even a perfect
        attack can prove would be kept by any network.
        """
        share = record.get("largest_verdict") if self.verdict else None
        if share is not None and share > ONE_VERDICT:
            return (
                f"not resolvable: the attack gives {100 * share:.3g} % of examples one verdict, as "
                "the threshold that it chose on its shadows does not fit this network: gate on auc"
            )
        most = record.get("provable", {}).get(self.name) if self.bound else None
        if most is None or limit < most:
            return ""
        return (
            f"not resolvable: with {record['members']} members and {record['non_members']} "
            f"non-members even a perfect attack proves no more than {most:.3g}: audit more, or "
            "lower the limit"
        )

    def why_unknown(self, record: Record) -> str:
        """Why a gate has no limit to look at, and what to do."""
        interval = _at(record, self.judged or self.path, missing=_MISSING)
        if interval is _MISSING:
            return "not measured, as this result is older than the metric: audit again"
        if interval is None:
            return self.absence.reason(self, record)
        return "a number without a confidence interval: audit again"


def _at(record: Any, path: tuple[str, ...], missing: object = None) -> Any:
    for key in path:
        if not isinstance(record, Mapping) or key not in record:
            return missing
        record = record[key]
    return record
