"""Whether subjects leak more or less than dense networks of their own accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from privaudit.report.differences import compared
from privaudit.report.evidence import Evidence
from privaudit.report.names import run_names
from privaudit.report.rows import UNEQUAL, Comparison, Row, Summary
from privaudit.report.verdict.change import Way, is_baseline, way_of, ways, ways_said
from privaudit.report.verdict.words import audited, listed, row_name
from privaudit.statistics import table
from privaudit.statistics.inference import holm
from privaudit.store.result import RunResult

_Pair = tuple[Row, Row]
"""A row, and the dense control that was stopped at its accuracy."""


def accuracy_sentence(rows: Sequence[Row], results: Sequence[RunResult]) -> str:
    """Whether what differs does so at equal accuracy; empty where nothing differs and none tells.

    Without a dense network of the same accuracy it cannot be told whether a method or the accuracy
    that it costs keeps members hidden.
    """
    rows = audited(rows)
    subjects = [row for row in rows if not row.matched and not is_baseline(row)]
    pairs = _pairs(rows)
    equal = [(row, dense) for row, dense in pairs if _equal(row, dense)]
    alone = [
        row for row in subjects if ways(row) and not any(row is matched for matched, _ in equal)
    ]
    untold = ""
    if alone:
        untold = (
            f"for {listed(row_name(row, rows) for row in alone)} it cannot be told whether the "
            "method or another accuracy makes the difference, because there is no dense network "
            "of equal accuracy to compare with (`matched: true` in a recipe trains them)"
        )
    if not equal:
        return f"{untold[:1].upper()}{untold[1:]}." if untold else ""
    found = _ways(equal, dict(zip(run_names(results), results, strict=True)))
    if not found:
        told = "at equal accuracy nothing could be tested"
    else:
        said = ways_said([(row_name(row, rows), how) for row, how in found])
        said = said or f"none of {len(found)} leaks more or less beyond chance"
        if any(map(ways, subjects)) and not any(how for _, how in found):
            said += ", so that accuracy alone may make the difference from the baseline"
        undefended = any(result.recipe.get("matched") == "undefended" for result in results)
        whom = "dense, undefended networks" if undefended else "dense networks"
        told = f"against {whom} of equal accuracy, {said}"
    return f"{told[:1].upper()}{told[1:]}{f'; {untold}' if untold else ''}."


def _pairs(rows: Sequence[Row]) -> list[_Pair]:
    controls = {(row.run, row.matched, row.level): row for row in rows if row.matched}
    keyed = [(row, (row.run, row.subject, row.level)) for row in rows if not row.matched]
    return [(row, controls[key]) for row, key in keyed if key in controls]


def _equal(row: Row, dense: Row) -> bool:
    return abs(row.test.mean - dense.test.mean) <= UNEQUAL


def _ways(pairs: Sequence[_Pair], runs: dict[str, RunResult]) -> list[tuple[Row, set[Way]]]:
    """How each row that could be tested differs from its control, all tests together (Holm)."""
    metric = table.changing()
    evidence = {name: Evidence(runs[name]) for name in {row.run for row, _ in pairs}}
    tests: list[tuple[int, Summary | None, Comparison]] = []
    for number, (row, dense) in enumerate(pairs):
        for label, attack in row.attacks.items():
            other = dense.attacks.get(label)
            if other is None or attack.silent or other.silent:
                continue
            here, there = (evidence[row.run].attacked(each, label) for each in (row, dense))
            if comparison := compared(metric, here, there):
                tests.append((number, attack.metrics[metric.name], comparison))
    found: dict[int, set[Way]] = {}
    adjusted = holm([comparison.p for _, _, comparison in tests])
    for (number, here_now, comparison), p in zip(tests, adjusted, strict=True):
        way = way_of(replace(comparison, adjusted=p), here_now)
        found.setdefault(number, set()).update({way} if way else set())
    return [(pairs[number][0], how) for number, how in found.items()]
