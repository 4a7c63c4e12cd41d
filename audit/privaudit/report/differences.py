"""Changes against the baseline, tested: pairs of one seed and target, Holm over all that is shown.

The paper's rule (`statistics.intervals.disjoint`) is no test: with three seeds it marks one of ten
rows that do not differ in 41 % of tables, and with 96 audits it misses a difference of a whole
standard deviation in 99 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.report.evidence import Attacked, Audited
from privaudit.report.rows import Comparison, Row
from privaudit.statistics.inference import Audit, Difference, difference, holm
from privaudit.statistics.metric import Metric


def compared(metric: Metric, here: Attacked, baseline: Attacked) -> Comparison | None:
    """The paired difference of a metric; None where there is nothing to test.

    That is where an audit lacks the number, no seed and target are in both, or one pair of networks
    has no interval. Networks whose scores are all equal do not differ, and need no test.
    """
    pairs = _pairs(metric, here, baseline)
    if not pairs:
        return None
    if _same(here, baseline):
        over = difference(pairs).over
        return Comparison.of(Difference(0.0, 0.0, 0.0, 1.0, len(pairs), over), metric.name)
    unsure = any(audit.estimate.low == audit.estimate.high for pair in pairs for audit in pair)
    if unsure and len({(audit.seed, audit.target) for audit, _ in pairs}) == 1:
        return None
    shared = here.evidence.shared and baseline.evidence.shared
    return Comparison.of(difference(pairs, shared=shared), metric.name)


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """The rows with the p-values of all their attacks adjusted for one another (Holm)."""
    tests = [
        attack.comparison.p for row in rows for attack in row.attacks.values() if attack.comparison
    ]
    p_values = iter(holm(tests))
    return [
        replace(
            row,
            attacks={
                label: replace(
                    attack,
                    comparison=replace(
                        attack.comparison, adjusted=next(p_values), comparisons=len(tests)
                    ),
                )
                if attack.comparison
                else attack
                for label, attack in row.attacks.items()
            },
        )
        for row in rows
    ]


def _pairs(metric: Metric, here: Attacked, baseline: Attacked) -> list[tuple[Audit, Audit]]:
    first = here.audits(metric)
    second = baseline.audits(metric)
    if first is None or second is None:
        return []
    by_key = {(audit.seed, audit.target): audit for audit in second}
    keys = [(audit.seed, audit.target) for audit in first]
    pairs = [(a, by_key[key]) for a, key in zip(first, keys, strict=True) if key in by_key]
    if here.evidence is baseline.evidence or _one_split(here, baseline, pairs):
        return pairs
    return [(a, _elsewhere(b, pairs)) for a, b in pairs]


def _one_split(here: Attacked, baseline: Attacked, pairs: Sequence[tuple[Audit, Audit]]) -> bool:
    """Whether two runs audited the same examples of the same dataset, pair by pair."""
    datasets = [attacked.evidence.result.recipe.get("dataset") for attacked in (here, baseline)]
    return datasets[0] == datasets[1] and all(
        a.examples is not None and _equal(a.examples, b.examples) and _equal(a.members, b.members)
        for a, b in pairs
    )


def _elsewhere(audit: Audit, pairs: Sequence[tuple[Audit, Audit]]) -> Audit:
    """The audit with its examples renamed, so that none is one of the other run's."""
    if audit.examples is None:
        return audit
    beyond = 1 + max(int(a.examples.max()) for a, _ in pairs if a.examples is not None)
    return replace(audit, examples=audit.examples + beyond)


def _same(here: Attacked, baseline: Attacked) -> bool:
    """Whether the attack scored and decided alike throughout: one network twice."""
    first = here.examples
    second = baseline.examples
    return (
        first is not None
        and second is not None
        and len(first) == len(second)
        and all(map(_alike, first, second))
    )


def _alike(a: Audited, b: Audited) -> bool:
    return (
        _equal(a.values.decision, b.values.decision)
        and _equal(a.examples, b.examples)
        and _equal(a.values.members, b.values.members)
        and _equal(a.values.scores, b.values.scores)
    )


def _equal(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)
