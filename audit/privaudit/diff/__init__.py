"""`privaudit diff`: two runs against one another, first what they were made from, then how they do.

It stands on the floor of reports and gates: it shows what they show, of two runs, with their
words, and uses the parts of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from privaudit.diff.joined import Pair, alone, joined, numbers
from privaudit.diff.made_from import changes
from privaudit.diff.paired import attack_row, network_row
from privaudit.diff.values import Diff, Row
from privaudit.report.evidence import Evidence
from privaudit.report.names import run_names
from privaudit.statistics import table
from privaudit.statistics.inference import holm
from privaudit.store.result import RunResult

__all__ = ["Diff", "diff"]


def diff(a: RunResult, b: RunResult, metrics: Iterable[str] = ()) -> Diff:
    """What sets B apart from A.

    Args:
        a: the run to compare to.
        b: the run that is compared.
        metrics: names of `statistics.table` to compare beside those of every diff.

    Raises:
        StoreError: a recipe or the scores of a run are damaged.
    """
    wanted = {*_of_every_diff(a, b), *metrics}
    names = table.names(lambda metric: metric.name in wanted)
    evidence = Evidence(a), Evidence(b)
    ours, theirs = numbers(a), numbers(b)
    pairs = joined(ours, theirs)
    by_level: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        by_level.setdefault(pair.key[:2], []).append(pair)
    networks = [network_row(level, *evidence) for level in by_level.values()]
    rows = [attack_row(pair, *evidence, names) for pair in pairs]
    tests = [p for row in (*networks, *rows) for p in _p_values(row)]
    adjusted = iter(holm(tests))
    networks, rows = (
        [_adjusted(row, [next(adjusted) for _ in _p_values(row)], len(tests)) for row in part]
        for part in (networks, rows)
    )
    found, untold = changes(a, b)
    same_run = a.folder is not None and b.folder is not None and a.folder.samefile(b.folder)
    name_a, name_b = [a.name, b.name] if same_run else run_names([a, b])
    return Diff(
        a=name_a,
        b=name_b,
        same_run=same_run,
        changes=tuple(found),
        untold=tuple(untold),
        networks=tuple(networks),
        rows=tuple(rows),
        only_a=tuple(alone(ours, theirs, b.failures)),
        only_b=tuple(alone(theirs, ours, a.failures)),
        metrics=tuple(names),
        comparisons=len(tests),
    )


def _of_every_diff(a: RunResult, b: RunResult) -> list[str]:
    """The metrics of every report, every TPR, and the bounds on epsilon that were measured."""
    records = [audit.metrics for run in (a, b) for audit in run.audits]
    return table.names(
        lambda metric: (
            metric.by_default
            or metric.path[0] in ("tpr_at_fpr", "epsilon")
            or (metric.bound and any(metric.read(record) is not None for record in records))
        )
    )


def _p_values(row: Row) -> list[float]:
    return [cell.comparison.p for cell in row.cells.values() if cell.comparison is not None]


def _adjusted(row: Row, p_values: Sequence[float], comparisons: int) -> Row:
    """The row with its p-values among all of the diff (Holm)."""
    left = iter(p_values)
    return replace(
        row,
        cells={
            name: cell
            if cell.comparison is None
            else replace(
                cell,
                comparison=replace(cell.comparison, adjusted=next(left), comparisons=comparisons),
            )
            for name, cell in row.cells.items()
        },
    )
