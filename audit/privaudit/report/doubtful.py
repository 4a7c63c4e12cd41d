"""The doubts of runs, told below a table: one sentence for each kind, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from privaudit.doubts.doubt import Doubt
from privaudit.report.aggregate import run_names
from privaudit.store.result import RunResult

_NAMED = 3  # of those that a doubt is about; more would bury the sentence


def doubt_lines(results: Sequence[RunResult], escape: Callable[[str], str]) -> list[str]:
    """One line for each kind of doubt: what it is about, and the first one's sentence.

    Args:
        results: the runs.
        escape: makes a stranger's words harmless.
    """
    kinds: dict[str, list[Doubt]] = {}
    for _, doubt in _named(results):
        kinds.setdefault(doubt.name, []).append(doubt)
    return [escape(_line(name, doubts)) for name, doubts in kinds.items()]


def doubt_records(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Every doubt, for JSON."""
    return [{"run": run, **asdict(doubt)} for run, doubt in _named(results)]


def _named(results: Sequence[RunResult]) -> list[tuple[str, Doubt]]:
    return [
        (name, doubt)
        for name, result in zip(run_names(results), results, strict=True)
        for doubt in result.doubts
    ]


def _line(name: str, doubts: Sequence[Doubt]) -> str:
    first, *others = doubts
    line = f"Doubt {name}: {first.about}: {first.sentence}."
    if not others:
        return line
    about = "; ".join(doubt.about for doubt in others[:_NAMED])
    more = f"; and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return f"{line} Likewise {about}{more}."
