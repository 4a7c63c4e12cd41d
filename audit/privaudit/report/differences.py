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

    Args:
        metric: what is compared.
        here: what is compared to the baseline.
        baseline: what it is compared to.
    """
    pairs = _pairs(metric, here, baseline)
    if not pairs:
        return None
    if alike(here, baseline):
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


def by_example(here: Attacked, baseline: Attacked) -> bool:
    """Whether two attacks, of as many audits each, are on the same examples of one dataset."""
    first, second = here.examples, baseline.examples
    return (
        _one_dataset(here, baseline)
        and first is not None
        and second is not None
        and len(first) == len(second)
        and all(map(_same_examples, first, second))
    )


def alike(here: Attacked, baseline: Attacked) -> bool:
    """Whether the attack scored and decided alike throughout: one network twice."""
    first, second = here.examples, baseline.examples
    return (
        first is not None
        and second is not None
        and len(first) == len(second)
        and all(map(_same_scores, first, second))
    )


def _pairs(metric: Metric, here: Attacked, baseline: Attacked) -> list[tuple[Audit, Audit]]:
    first = here.audits(metric)
    second = baseline.audits(metric)
    if first is None or second is None:
        return []
    by_key = {(audit.seed, audit.target): audit for audit in second}
    keys = [(audit.seed, audit.target) for audit in first]
    pairs = [(a, by_key[key]) for a, key in zip(first, keys, strict=True) if key in by_key]
    # Of one dataset, an example keeps its influence whichever side of a split it is on: what is a
    # member here and a non-member there makes two networks differ more than unrelated ones would.
    if here.evidence is baseline.evidence or _one_dataset(here, baseline):
        return pairs
    return [(a, _elsewhere(b, pairs)) for a, b in pairs]


def _one_dataset(here: Attacked, baseline: Attacked) -> bool:
    """Whether examples of one number are one example: by checksums, or else by the recipes."""
    runs = here.evidence, baseline.evidence
    if all(run.data for run in runs):
        return runs[0].data == runs[1].data
    first, second = (run.result.recipe.get("dataset") for run in runs)
    return bool(first == second)


def _elsewhere(audit: Audit, pairs: Sequence[tuple[Audit, Audit]]) -> Audit:
    """The audit with its examples renamed, so that none is one of the other run's."""
    if audit.examples is None:
        return audit
    numbers = [a.examples for a, _ in pairs if a.examples is not None and a.examples.size]
    beyond = 1 + max((int(examples.max()) for examples in numbers), default=-1)
    return replace(audit, examples=audit.examples + beyond)


def _same_examples(a: Audited, b: Audited) -> bool:
    return _equal(a.examples, b.examples) and _equal(a.values.members, b.values.members)


def _same_scores(a: Audited, b: Audited) -> bool:
    return (
        _same_examples(a, b)
        and _equal(a.values.decision, b.values.decision)
        and _equal(a.values.scores, b.values.scores)
    )


def _equal(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)
