"""What a report comes to, in a few sentences: what leaks, what differs, what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.report.aggregate import compare
from privaudit.report.rows import Row
from privaudit.report.verdict.accuracy import accuracy_sentence
from privaudit.report.verdict.change import change_sentence
from privaudit.report.verdict.leak import leak, leak_sentence
from privaudit.report.verdict.rest import rest_sentence
from privaudit.store.result import RunResult

__all__ = ["leak", "sentences", "sentences_of"]


def sentences(results: Sequence[RunResult], baseline: str | None = None) -> list[str]:
    """Two to four sentences for a newcomer, without anything that a terminal obeys.

    The first is one of three: an attack tells members, and how well; none was seen to, and how
    large a leak would have been; or it cannot be told, and why. The others say which subjects
    differ from the baseline, whether they do at equal accuracy, and what is in doubt or missing.

    Args:
        results: the runs.
        baseline: as `compare` takes it.

    Raises:
        RecipeError: no run has that baseline.
        StoreError: a run's scores are damaged.
    """
    return sentences_of(compare(results, baseline), results)


def sentences_of(rows: Sequence[Row], results: Sequence[RunResult]) -> list[str]:
    """The same from rows that `compare` has made of all attacks of these runs.

    Args:
        rows: of every run, subject and level, with their intervals.
        results: the runs.
    """
    told = [
        leak_sentence(rows, results),
        change_sentence(rows),
        accuracy_sentence(rows, results),
        rest_sentence(rows, results),
    ]
    return [sentence for sentence in told if sentence]
