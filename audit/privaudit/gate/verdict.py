"""What there is to say of a gate: kept, broken, or that it cannot be told, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, Literal

from privaudit.doubts.doubt import Doubt, acceptance
from privaudit.gate.limit import Gate
from privaudit.statistics.metric import Reached
from privaudit.statistics.power import sample_sentence

Told = Literal["kept", "broken", "cannot be told"]
"""What there is to say of a gate."""


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
        sample: of a gate that is not kept, that the examples are too few for any network to keep
            it; empty where they are not, or where every number in an interval breaks it.
    """

    gate: Gate
    passed: bool
    attacks: tuple[str, ...]
    reached: float | None
    reason: str = ""
    reversed: bool = False
    doubts: tuple[str, ...] = ()
    sample: str = ""

    def __bool__(self) -> bool:
        """Whether it passed, so that `if verdict:` and `assert verdict` do what they say."""
        return self.passed

    @property
    def exit_code(self) -> int:
        """What a command that ends with this verdict exits with: 0 where it passed, else 3."""
        return 0 if self.passed else 3

    @property
    def told(self) -> Told:
        """One of three answers: what is not known, in doubt, or for want of examples is not broken.

        Broken is what the numbers say: the limit is reached, and not only because so few examples
        leave room for everything.
        """
        if self.passed:
            return "kept"
        known = self.reached is not None and not self.gate.kept_by(self.reached)
        return "broken" if known and not self.sample else "cannot be told"

    @property
    def caveat(self) -> str:
        """What has to be said where the gate is kept; empty where nothing has."""
        return self.gate.caveat if self.passed else ""

    def sentence(self) -> str:
        """One line for people.

        >>> gate = Gate("auc<0.6", "auc", 0.6)
        >>> judge(gate, {"loss": {"auc": {"value": 0.5, "low": 0.4, "high": 0.7}}}).sentence()
        'gate auc<0.6: BROKEN, upper confidence limit 0.7 (loss)'
        """
        opening = f"gate {self.gate.text}: {self._word}"
        return f"{opening}{' ' if self.doubted else ', '}{self.because()}"

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
        if not self.doubted:
            return "; ".join(filter(None, [f"{limit} {attacks}", self.sample, self.caveat]))
        names = ", ".join(self.doubts)
        plural, them = ("s", "them") if len(self.doubts) > 1 else ("", "it")
        return (
            f"for the open doubt{plural} {names}, though the {limit} {attacks} would "
            f"keep it: clear {them} up, or accept {them} by {acceptance(self.doubts)}"
        )

    @property
    def _word(self) -> str:
        """What only disproves has never shown that a gate is kept."""
        if not self.passed:
            return self.told.upper()
        return "not disproved" if self.gate.judged.caveat else "passed"

    @property
    def doubted(self) -> bool:
        """Whether doubts alone break it."""
        return bool(self.doubts) and self.reached is not None and self.gate.kept_by(self.reached)


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
    intervals = [gate.judged.interval_of(record) for record in metrics.values()]
    for interval in intervals:
        if interval is not None and not any(map(gate.kept_by, interval)):
            return ""  # it leaks: more examples would not keep it
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
