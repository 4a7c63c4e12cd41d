"""Gates of a release pipeline: limits that an audit must keep, or the release stops.

A gate fails closed. It looks at the confidence limit that speaks against the network, never at
the estimate; it takes every attack; and a number that is not known breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from privaudit.errors import RecipeError
from privaudit.statistics.metrics import RATES, defense

_UPPER = ("auc", "balanced_accuracy", *(f"tpr@{rate}" for rate in RATES))
METRICS = (*_UPPER, "defense")
"""What a gate can be about: metrics with a confidence interval."""

_WITHOUT = ("advantage", "best_balanced_accuracy")


@dataclass(frozen=True)
class Gate:
    """A limit on one metric of every attack.

    Attributes:
        text: as the user wrote it, without spaces.
        metric: one of `METRICS`.
        limit: strictly between 0 and 1.
    """

    text: str
    metric: str
    limit: float

    @property
    def side(self) -> str:
        """The confidence limit that must keep the gate: "upper", and "lower" for the defense."""
        return "lower" if self.metric == "defense" else "upper"

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
    """

    gate: Gate
    passed: bool
    attacks: tuple[str, ...]
    reached: float | None
    reason: str = ""

    def sentence(self) -> str:
        """One line for people.

        >>> gate = parse_gate("auc<0.6")
        >>> judge(gate, {"loss": {"auc": {"value": 0.5, "low": 0.4, "high": 0.7}}}).sentence()
        'gate auc<0.6: BROKEN, upper confidence limit 0.7 (loss)'
        """
        word = "passed" if self.passed else "BROKEN"
        if self.reached is None:
            return f"gate {self.gate.text}: {word}, {self.reason} ({', '.join(self.attacks)})"
        # Rounded for people, but never so far that a broken limit looks like a kept one.
        number = f"{self.reached:.4g}"
        if self.gate.kept_by(float(number)) != self.passed:
            number = repr(self.reached)
        return (
            f"gate {self.gate.text}: {word}, {self.gate.side} confidence limit {number} "
            f"({', '.join(self.attacks)})"
        )


def parse_gate(text: str) -> Gate:
    """Read METRIC<NUMBER, or defense>NUMBER.

    >>> parse_gate("tpr@1e-3 < 0.01")
    Gate(text='tpr@1e-3<0.01', metric='tpr@0.001', limit=0.01)

    Raises:
        RecipeError: it is not of that form, the metric is unknown or has no interval, the sign
            points the wrong way, or the number is not between 0 and 1.
    """
    text = "".join(text.split())
    match = re.fullmatch(r"([^<>=]+)([<>])([^<>=]+)", text)
    if not match:
        raise _wrong(text, "is not METRIC<NUMBER, such as auc<0.6, or defense>NUMBER")
    metric = _metric(text, match[1])
    sign = ">" if metric == "defense" else "<"
    if match[2] != sign:
        better = "more" if sign == ">" else "less"
        raise _wrong(text, f"{better} is safer, so write {match[1]}{sign}{match[3]}")
    limit = _number(match[3])
    if limit is None or not 0 < limit < 1:
        raise _wrong(text, f"{match[3]!r} must be a number between 0 and 1")
    return Gate(text, metric, limit)


def judge(gate: Gate, metrics: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """Hold a gate against what attacks found.

    Args:
        gate: the limit.
        metrics: by the attack's label, as `privaudit.statistics.metrics.evaluate` makes them.
    """
    reached = {label: _reached(gate, found) for label, found in metrics.items()}
    unknown = tuple(label for label, value in reached.items() if value is None)
    if unknown or not reached:
        return Verdict(gate, False, unknown, None, _reason(gate, metrics, unknown))
    known = {label: value for label, value in reached.items() if value is not None}
    worst = min if gate.side == "lower" else max
    strongest = worst(known, key=known.__getitem__)
    passed = all(map(gate.kept_by, known.values()))
    return Verdict(gate, passed, (strongest,), known[strongest])


def _reached(gate: Gate, found: Mapping[str, Any]) -> float | None:
    """The confidence limit that the gate is about; None where it is not known."""
    kind, _, rate = gate.metric.partition("@")
    if kind == "tpr":
        interval = found["tpr_at_fpr"].get(rate)
    else:
        interval = found["balanced_accuracy" if kind == "defense" else kind]
    if interval is None:
        return None
    return defense(interval["high"]) if kind == "defense" else float(interval["high"])


def _reason(gate: Gate, metrics: Mapping[str, Mapping[str, Any]], unknown: Sequence[str]) -> str:
    if not unknown:
        return "no attack was made"
    if gate.metric.startswith("tpr@"):
        needed = round(1 / float(gate.metric.partition("@")[2]))
        have = metrics[unknown[0]]["non_members"]
        return f"not resolvable with {have} non-members: it takes {needed} or more"
    return "unknown, as no threshold was chosen: give shadows, or gate on auc"


def _metric(text: str, name: str) -> str:
    """The metric's own name; a rate may be spelled as any number."""
    kind, at, rate = name.partition("@")
    if kind == "tpr" and at:
        value = _number(rate)
        for known in RATES:
            if value == float(known):
                return f"tpr@{known}"
    if name in METRICS:
        return name
    if name in _WITHOUT:
        raise _wrong(
            text, f"{name} has no confidence interval to judge by: use auc or balanced_accuracy"
        )
    near = get_close_matches(name, METRICS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise _wrong(text, f"unknown metric {name!r}; {hint}There are: {', '.join(METRICS)}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _wrong(text: str, problem: str) -> RecipeError:
    return RecipeError(f"--gate {text}: {problem}")
