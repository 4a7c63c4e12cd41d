"""The doubts and failures of runs, told below a table: one sentence for each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from privaudit.doubts.doubt import Doubt, lines
from privaudit.report.names import run_names
from privaudit.store.failure import Failure
from privaudit.store.failure import lines as failure_lines
from privaudit.store.result import RunResult


def doubt_lines(results: Sequence[RunResult], escape: Callable[[str], str]) -> list[str]:
    """One line for each failure and for each kind of doubt, with what it is about.

    Args:
        results: the runs.
        escape: makes a stranger's words harmless.
    """
    failed = [failure for _, failure in _failures(results)]
    told = [f"F{line[1:]}" for line in failure_lines(failed)]
    told += [f"D{line[1:]}" for line in lines(d for _, d in _named(results))]
    return list(map(escape, told))


def doubt_records(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Every doubt, for JSON."""
    return [{"run": run, **asdict(doubt)} for run, doubt in _named(results)]


def failure_records(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Every failure, for JSON."""
    return [{"run": run, **failure.record()} for run, failure in _failures(results)]


def _failures(results: Sequence[RunResult]) -> list[tuple[str, Failure]]:
    names = run_names(results)
    return [(name, f) for name, run in zip(names, results, strict=True) for f in run.failures]


def _named(results: Sequence[RunResult]) -> list[tuple[str, Doubt]]:
    return [
        (name, doubt)
        for name, result in zip(run_names(results), results, strict=True)
        for doubt in result.doubts
    ]
