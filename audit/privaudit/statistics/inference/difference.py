"""What changed between two rows: paired differences, with an interval and a p-value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, hypot, log, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from privaudit.statistics.inference.audits import Audit, blocks, clusters, correlations
from privaudit.statistics.inference.mean import combined
from privaudit.statistics.intervals import mean_std

_FEWEST = 2.0  # examples that differ, from which on their variance is estimated
_SMALLEST = 1e-12  # p-value that is told apart from 0

Over = Literal["seeds", "targets", "examples"]


@dataclass(frozen=True)
class Difference:
    """The mean of one number minus its baseline's, over pairs of one seed and target.

    Attributes:
        value: the mean difference.
        low: lower confidence limit.
        high: upper confidence limit.
        p: of no difference, two-sided; the interval at level 1 - p ends at 0.
        pairs: how many seeds and targets both have.
        over: what the test is over: seeds, and so fresh splits and trainings; with one seed its
            targets; with a single pair of networks nothing but their examples.
    """

    value: float
    low: float
    high: float
    p: float
    pairs: int
    over: Over


def difference(
    pairs: Sequence[tuple[Audit, Audit]], *, shared: bool = False, confidence: float = 0.95
) -> Difference:
    """The mean paired difference, clustered by example and by seed as `mean_of_audits` is.

    The part of the examples is the sum of squares of their influence on the difference: what two
    networks have in common about an example cancels. Its Student's t has one degree of freedom
    less than as many examples as would differ equally: (Σ ψ²)² / Σ ψ⁴, so that a difference that
    rests on four examples is judged by four (two decisions that differ in one example tell
    nothing). The part of the seeds is Student's t over the seeds' mean differences. Where influence
    is not known, or fewer than two examples differ, the two audits count as independent, which is
    wider.

    Args:
        pairs: (here, baseline) of one seed and target each; examples of one number are one example.
        shared: see `inference.audits.correlations`.
        confidence: of the audits' intervals, and of the difference's.
    """
    values = [here.estimate.value - there.estimate.value for here, there in pairs]
    value = float(np.mean(values))
    names = clusters([here for here, _ in pairs])
    by_cluster = [
        float(np.mean([v for v, name in zip(values, names, strict=True) if name == cluster]))
        for cluster in dict.fromkeys(names)
    ]
    count = len(by_cluster)
    error = (mean_std(by_cluster)[1] or 0.0) / sqrt(count)
    examples = _by_influence(pairs, names) or _unpaired(pairs, names, shared, confidence)

    def reach(alpha: float) -> tuple[float, float]:
        seeds = float(stdtrit(count - 1, 1 - alpha / 2)) * error if count > 1 else 0.0
        return examples(alpha, seeds)

    down, up = reach(1 - confidence)
    seeds = len({here.seed for here, _ in pairs})
    over: Over = "seeds" if seeds > 1 else "targets" if count > 1 else "examples"
    side = 0 if value > 0 else 1
    p = _p_value(abs(value), lambda alpha: reach(alpha)[side])
    return Difference(value, value - down, value + up, p, len(pairs), over)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: below 5 %, it is significant among all of them together.

    Holm 1979, "A simple sequentially rejective multiple test procedure": the chance of any false
    finding is at most that level, whatever the tests share.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, number in enumerate(order):
        largest = max(largest, min((len(order) - rank) * p_values[number], 1.0))
        adjusted[number] = largest
    return adjusted


_Examples = Callable[[float, float], tuple[float, float]]
"""From a level alpha and the seeds' reach to the whole reach, below and above."""


def _by_influence(pairs: Sequence[tuple[Audit, Audit]], names: Sequence[int]) -> _Examples | None:
    """By the influence of each example on the difference; None where that is not known."""
    audits = [audit for pair in pairs for audit in pair]
    if any(audit.examples is None or audit.influence is None for audit in audits):
        return None
    weights = [sign / len(pairs) for _ in pairs for sign in (1, -1)]
    values: list[NDArray[np.float64] | None] = [
        None if audit.influence is None else weight * audit.influence
        for audit, weight in zip(audits, weights, strict=True)
    ]
    distinct = list(dict.fromkeys(names))
    of_cluster = np.repeat(np.array(names), 2) == np.array(distinct)[:, None]  # (S, 2 P)
    total = fourth = within = 0.0
    for block in blocks(values, [audit.examples for audit in audits]):
        by_cluster = of_cluster.astype(np.float64) @ block
        squares = by_cluster.sum(0) ** 2
        total += float(squares.sum())
        fourth += float((squares**2).sum())
        within += float((by_cluster**2).sum())
    if fourth == 0 or total**2 / fourth < _FEWEST:
        return None
    freedom = total**2 / fourth - 1
    count = len(distinct)
    between = max((total - within) * count / (count - 1), 0.0) if count > 1 else 0.0

    def reach(alpha: float, seeds: float) -> tuple[float, float]:
        quantile = float(stdtrit(freedom, 1 - alpha / 2))
        far = max(quantile * sqrt(total), hypot(seeds, quantile * sqrt(between)))
        return far, far

    return reach


def _unpaired(
    pairs: Sequence[tuple[Audit, Audit]], names: Sequence[int], shared: bool, confidence: float
) -> _Examples:
    """By the audits' intervals, as if the two of a pair had no example in common."""
    usual = float(ndtri((1 + confidence) / 2))
    here, there = ([pair[side] for pair in pairs] for side in (0, 1))
    alike = [correlations(audits, shared=shared) for audits in (here, there)]

    def distances(audits: Sequence[Audit], below: bool) -> NDArray[np.float64]:
        estimates = [audit.estimate for audit in audits]
        if below:
            return np.array([estimate.value - estimate.low for estimate in estimates])
        return np.array([estimate.high - estimate.value for estimate in estimates])

    parts = {
        below: (distances(here, below) / len(pairs), distances(there, not below) / len(pairs))
        for below in (True, False)
    }

    def one(below: bool, scale: float, seeds: float) -> float:
        first, second = parts[below]
        both = np.concatenate([first, second]) * scale
        size = len(pairs)
        joint = np.zeros((2 * size, 2 * size))
        joint[:size, :size], joint[size:, size:] = alike
        return combined(both, joint, [*names, *names], seeds)

    def reach(alpha: float, seeds: float) -> tuple[float, float]:
        scale = float(ndtri(1 - alpha / 2)) / usual
        return one(True, scale, seeds), one(False, scale, seeds)

    return reach


def _p_value(distance: float, reach: Callable[[float], float]) -> float:
    """The level at which the interval just reaches 0, by halving its logarithm."""
    if distance <= 0:
        return 1.0
    low, high = log(_SMALLEST), 0.0
    if reach(exp(low)) < distance:
        return _SMALLEST
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if reach(exp(middle)) > distance else (low, middle)
    return exp(high)
