"""A gate on the mean over a row's networks, such as mean(auc)<0.6.

What is judged is how much a way to train leaks on average, over the draws of examples, splits and
trainings that the run has made: by the interval of `inference.mean_of_audits`, which holds both
what the examples and what the networks leave open. A gate on each network is stricter the more
networks there are, as each has to be told safe by its own few examples; a mean is not, and says
nothing of a single network.

A network leaks in either direction, so that one below guessing and one above do not make up for
each other: each counts with its distance from guessing. As E|x| is never below |E x|, chance alone
puts that mean higher than the truth, never lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from privaudit.doubts.doubt import Doubt
from privaudit.gate import Gate, Verdict, judge
from privaudit.report.evidence import Attacked
from privaudit.statistics import table
from privaudit.statistics.inference import Audit, mean_of_audits
from privaudit.statistics.intervals import Estimate
from privaudit.statistics.metric import Metric

_GUESSING = 0.5
"""Where a metric with two directions stands if the attacker guesses."""


def judge_mean(gate: Gate, attacked: Attacked, doubts: Sequence[Doubt]) -> Verdict:
    """Hold a gate against the mean over the networks of one row.

    Args:
        gate: on a mean.
        attacked: one attack on the row's networks, each of which has a limit to look at.
        doubts: about the run that nobody has accepted.

    Raises:
        StoreError: the run's scores are damaged.
    """
    count = len(attacked.numbers)
    if count < 2:
        each = gate.text.replace("mean(", "").replace(")", "")
        return _untold(gate, "a mean takes several networks, and there is one: give the recipe "
                       f"more seeds, or gate on {each}", doubts)  # fmt: skip
    audits = None if attacked.examples is None else attacked.audits(_owner(gate))
    if audits is None:
        return _untold(gate, "the run has not kept which examples its networks share: run its "
                       "recipe again", doubts)  # fmt: skip
    mean = mean_of_row(gate, audits, shared=attacked.evidence.shared)
    return judge(gate, {f"mean of {count} networks": _record(gate, mean)}, doubts)


def mean_of_row(gate: Gate, audits: Sequence[Audit], *, shared: bool = False) -> Estimate:
    """The mean that a gate judges, with its interval.

    Args:
        gate: on a mean.
        audits: of the networks, two or more.
        shared: as `mean_of_audits` takes it.
    """
    if gate.judged.reversed is None:
        return mean_of_audits(audits, shared=shared)
    # A network below guessing leaks in the other direction, or is there by chance: what it shares
    # with others has the other sign in one case and not in the other, and the wider interval holds.
    means = [
        mean_of_audits([_folded(audit, sign) for audit in audits], shared=shared)
        for sign in (1, -1)
    ]
    return Estimate(
        means[0].value, min(mean.low for mean in means), max(mean.high for mean in means)
    )


def _owner(gate: Gate) -> Metric:
    """The metric whose interval is judged."""
    path = gate.judged.judged or gate.judged.path
    return next(metric for metric in table.METRICS if metric.path == path)


def _folded(audit: Audit, sign: int) -> Audit:
    """The audit of the attack in the direction in which it tells more.

    Args:
        audit: of a metric that is one half where the attacker guesses.
        sign: of its examples' influence where that is the other direction.
    """
    value, low, high = (
        audit.estimate.value - _GUESSING,
        audit.estimate.low - _GUESSING,
        audit.estimate.high - _GUESSING,
    )
    if value >= 0:
        return audit
    estimate = Estimate(_GUESSING - value, _GUESSING - high, _GUESSING - low)
    influence = None if audit.influence is None else sign * audit.influence
    return replace(audit, estimate=estimate, influence=influence)


def _record(gate: Gate, mean: Estimate) -> dict[str, Any]:
    """The interval, where the metric looks for it."""
    record: Any = asdict(mean)
    for key in reversed(gate.judged.judged or gate.judged.path):
        record = {key: record}
    return dict(record)


def _untold(gate: Gate, reason: str, doubts: Sequence[Doubt]) -> Verdict:
    names = tuple(dict.fromkeys(doubt.name for doubt in doubts))
    return Verdict(gate, False, (), None, reason, doubts=names)
