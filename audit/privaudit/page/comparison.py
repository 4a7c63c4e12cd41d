"""The numbers of `privaudit report`, one table for each attack, and what their signs mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from privaudit.page.blocks import Block, Folded, Points, Sentences, Table
from privaudit.page.findings import Findings
from privaudit.page.words import CELLS, SENTENCES, name, row_name
from privaudit.report.choose import default_metrics
from privaudit.report.columns import Column, columns
from privaudit.report.legend import legend


def comparison(findings: Findings) -> list[Block]:
    """Every attack on every network; the strongest is open, the others are folded."""
    rows = findings.rows
    metrics = default_metrics(rows)
    every = columns(rows, metrics, CELLS, intervals=True)
    accuracy = [column for column in every if column.heading == (f"test {CELLS.escape('%')}",)]
    tables = [
        _table(
            findings,
            f"{name(label)}: what it tells about each network",
            [*accuracy, *(column for column in every if column.group == name(label))],
        )
        for label in _labels(findings)
    ]
    lines = legend(rows, metrics, SENTENCES, intervals=True)
    signs = Points("How to read these numbers", tuple(("", line) for line in lines))
    if not tables:
        return [signs]
    first, *others = tables
    blocks: list[Block] = [first, signs]
    if others:
        blocks.insert(1, Folded(_others(others), others))
    return blocks


def cost(findings: Findings) -> list[Block]:
    """What each network takes, beside its accuracy and what its makers noted."""
    every = columns(findings.rows, (), CELLS, cost=True)
    numbers = [column for column in every if column.kind in ("network", "note")]
    seconds = [
        (run, result.environment.get("seconds"), result.environment.get("device", "?"))
        for run, result in findings.named
    ]
    lines = [
        f"The whole audit {name(run)} took {_time(float(taken))} on {name(str(device))}."
        for run, taken, device in seconds
        if isinstance(taken, int | float)
    ]
    lines.append(
        "Parameters and multiply-adds count weights that are not zero; the time is for one "
        "example, measured in batches on the device of the run, once channels that are zero have "
        "been cut away."
    )
    return [
        _table(findings, "Size, cost and accuracy of each network", numbers),
        Sentences(tuple(lines)),
    ]


def _labels(findings: Findings) -> list[str]:
    failed = {label for row in findings.rows for label in row.failed - {""}}
    return list(dict.fromkeys([*findings.attacks, *sorted(failed)]))


def _others(tables: Sequence[Table]) -> str:
    count = len(tables)
    return f"The other {count} attacks" if count > 1 else "The other attack"


def _table(findings: Findings, caption: str, numbers: Iterable[Column]) -> Table:
    shown = list(numbers)
    cells = [[column.cells[row].strip() for column in shown] for row in range(len(findings.rows))]
    names = [row_name(row, findings.several) for row in findings.rows]
    return Table(
        caption,
        ("network", *(" ".join(column.heading) for column in shown)),
        tuple((label, *row) for label, row in zip(names, cells, strict=True)),
    )


def _time(seconds: float) -> str:
    """A span of time for people.

    >>> _time(41.2), _time(600), _time(7200)
    ('41 seconds', '10 minutes', '2.0 hours')
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
