"""Gates of a release pipeline: limits that an audit must keep, or the release stops.

A gate fails closed. It looks at the confidence limit that speaks against the network, never at
the estimate, and in both directions: scores that put members last tell them as well. It takes
every attack; a number that is not known breaks it, and so does a doubt that nobody has accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf, isnan
from typing import Any, Literal

from privaudit.doubts.doubt import Doubt, acceptance
from privaudit.errors import RecipeError
from privaudit.statistics import table
from privaudit.statistics.conditions import unknown_metric, written
from privaudit.statistics.metric import Metric, Reached
from privaudit.statistics.power import sample_sentence

Told = Literal["kept", "broken", "cannot be told"]
"""What there is to say of a gate."""


@dataclass(frozen=True)
class Gate:
    """A limit on one metric of every attack.

    Attributes:
        text: as the user wrote it, without spaces.
        metric: its name in `statistics.table`.
        limit: strictly within the metric's bounds: for most, between 0 and 1.
    """

    text: str
    metric: str
    limit: float

    @property
    def judged(self) -> Metric:
        """What the table says of the metric."""
        return table.named([self.metric])[0]

    @property
    def side(self) -> Literal["upper", "lower"]:
        """The confidence limit that must keep the gate."""
        return self.judged.side

    def kept_by(self, reached: float) -> bool:
        """Whether a confidence limit keeps the gate; NaN never does."""
        return reached > self.limit if self.side == "lower" else reached < self.limit


@dataclass(frozen=True)
class Verdict:
    """Whether a gate held.

    Attributes:
        gate: which one.
        passed: whether every attack kept it.
        attacks: labels of the strongest attack, or of those that leave the metric unknown.
        reached: the strongest attack's confidence limit; None where the metric is unknown.
        reason: why it is unknown, and what to do.
        reversed: whether the limit is that of the attack with its scores reversed.
        doubts: names of the open doubts, which break it whatever the numbers are.
        sample: of a gate that the numbers break, whether the examples are too few for any network
            to keep it; empty where they are not.
    """

    gate: Gate
    passed: bool
    attacks: tuple[str, ...]
    reached: float | None
    reason: str = ""
    reversed: bool = False
    doubts: tuple[str, ...] = ()
    sample: str = ""

    @property
    def told(self) -> Told:
        """One of three answers: what is not known, or in doubt, is not broken either."""
        if self.passed:
            return "kept"
        known = self.reached is not None and not self.gate.kept_by(self.reached)
        return "broken" if known else "cannot be told"

    @property
    def caveat(self) -> str:
        """What has to be said where the gate is kept; empty where nothing has."""
        return self.gate.judged.caveat if self.passed else ""

    def sentence(self) -> str:
        """One line for people.

        >>> gate = parse_gate("auc<0.6")
        >>> judge(gate, {"loss": {"auc": {"value": 0.5, "low": 0.4, "high": 0.7}}}).sentence()
        'gate auc<0.6: BROKEN, upper confidence limit 0.7 (loss)'
        """
        opening = f"gate {self.gate.text}: {_word(self.passed, self.caveat)}"
        return f"{opening}{' ' if self._doubted else ', '}{self.because()}"

    def because(self) -> str:
        """The confidence limit that the gate was held against, or why nothing can be told."""
        attacks = f"({', '.join(self.attacks)})" if self.attacks else ""
        if self.reached is None:
            return f"{self.reason} {attacks}".rstrip()
        # Rounded for people, but never so far that a broken limit looks like a kept one.
        number = f"{self.reached:.4g}"
        if self.gate.kept_by(float(number)) != self.gate.kept_by(self.reached):
            number = repr(self.reached)
        limit = f"{self.gate.side} confidence limit {number}"
        if self.gate.judged.bound:
            limit = f"proven lower bound {number}"
        if self.reversed:
            limit += " with scores reversed"
        if not self._doubted:
            return "; ".join(filter(None, [f"{limit} {attacks}", self.sample, self.caveat]))
        names = ", ".join(self.doubts)
        plural, them = ("s", "them") if len(self.doubts) > 1 else ("", "it")
        return (
            f"by the open doubt{plural} {names}, though the {limit} {attacks} would "
            f"keep it: clear {them} up, or accept {them} by {acceptance(self.doubts)}"
        )

    @property
    def _doubted(self) -> bool:
        """Whether doubts alone break it."""
        return bool(self.doubts) and self.reached is not None and self.gate.kept_by(self.reached)


def parse_gate(text: str) -> Gate:
    """Read METRIC<NUMBER, or METRIC>NUMBER where more is safer.

    >>> parse_gate("tpr@1e-3 < 0.01")
    Gate(text='tpr@1e-3<0.01', metric='tpr@0.001', limit=0.01)

    Raises:
        RecipeError: it is not of that form, the metric is unknown or has no interval, the sign
            points the wrong way, or the number is out of the metric's bounds.
    """
    text = "".join(text.split())
    condition = written(text)
    if condition is None or condition.absolute:
        raise _wrong(text, f"is not {_forms()}")
    name, number = condition.metric, condition.number
    metric = _metric(text, name)
    if condition.sign != metric.gate:
        better = "more" if metric.side == "lower" else "less"
        raise _wrong(text, f"{better} is safer, so write {name}{metric.gate}{number}")
    limit = condition.value
    low, high = metric.bounds
    if limit is None or not low < limit < high:
        within = f"above {low:g}" if isinf(high) else f"between {low:g} and {high:g}"
        raise _wrong(text, f"{number!r} must be a number {within}")
    return Gate(text, metric.name, limit)


def judge(
    gate: Gate,
    metrics: Mapping[str, Mapping[str, Any]],
    doubts: Sequence[Doubt] = (),
    confidence: float = 0.95,
) -> Verdict:
    """Hold a gate against what attacks found.

    Args:
        gate: the limit.
        metrics: by the attack's label, as `privaudit.statistics.metrics.evaluate` makes them.
        doubts: about this audit that nobody has accepted.
        confidence: of the metrics' intervals.
    """
    names = tuple(dict.fromkeys(doubt.name for doubt in doubts))
    limits = {label: gate.judged.reached(record) for label, record in metrics.items()}
    unknown = tuple(label for label, reached in limits.items() if reached is None)
    if not unknown:
        unknown = tuple(name for name, r in metrics.items() if _unresolvable(gate, r))
    if unknown or not limits:
        why = _why_unknown(gate, metrics[unknown[0]]) if unknown else "no attack was made"
        return Verdict(gate, False, unknown, None, why, doubts=names)
    known = {label: reached for label, reached in limits.items() if reached is not None}
    strongest = _worst(gate, known)
    reached = known[strongest]
    kept = all(gate.kept_by(other.limit) for other in known.values())
    return Verdict(
        gate,
        kept and not names,
        (strongest,),
        reached.limit,
        reversed=reached.reversed,
        doubts=names,
        sample="" if kept else _too_small(gate, metrics, confidence),
    )


def _too_small(gate: Gate, metrics: Mapping[str, Mapping[str, Any]], confidence: float) -> str:
    """Whether a network that tells nothing would have broken it, too, for want of examples."""
    sizes = [(r["members"], r["non_members"]) for r in metrics.values() if "members" in r]
    if gate.judged.bound or len(sizes) < len(metrics):
        return ""
    members, non_members = min(sizes, key=sum)
    return sample_sentence(
        gate.metric,
        gate.limit,
        members,
        non_members,
        len(metrics),
        confidence,
        both_sides=gate.judged.reversed is not None,
    )


def _unresolvable(gate: Gate, record: Mapping[str, Any]) -> str:
    return gate.judged.unresolvable(record, gate.limit)


def _why_unknown(gate: Gate, record: Mapping[str, Any]) -> str:
    if gate.judged.reached(record) is None:
        return gate.judged.why_unknown(record)
    return _unresolvable(gate, record)


def _worst(gate: Gate, limits: Mapping[str, Reached]) -> str:
    """The attack whose limit speaks most against the network; one that is NaN before all."""

    def against(label: str) -> float:
        limit = limits[label].limit
        if isnan(limit):
            return inf
        return -limit if gate.side == "lower" else limit

    return max(limits, key=against)


def _word(passed: bool, caveat: str) -> str:
    """How a verdict opens: what only disproves has never shown that a gate is kept."""
    if not passed:
        return "BROKEN"
    return "not disproved" if caveat else "passed"


def _forms() -> str:
    """How a gate is written, by the first metric of the table and those where more is safer."""
    example = next(metric.name for metric in table.METRICS if metric.gate == "<")
    others = table.names(lambda metric: metric.gate == ">")
    forms = [f"METRIC<NUMBER, such as {example}<0.6", *(f"{name}>NUMBER" for name in others)]
    return ", or ".join(forms)


def _metric(text: str, name: str) -> Metric:
    """The metric of that name; the number after @ may be spelled in any way."""
    metric = table.spelled(name)
    if metric is not None and metric.gate is not None:
        return metric
    if metric is not None:
        raise _wrong(text, f"{name} {metric.ungated}")
    valid_names = table.names(lambda metric: metric.gate is not None)
    raise _wrong(text, unknown_metric(name, valid_names))


def _wrong(text: str, problem: str) -> RecipeError:
    return RecipeError(f"--gate {text}: {problem}")
