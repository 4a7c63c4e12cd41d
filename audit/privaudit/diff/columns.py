"""The numbers of a diff as columns, and what it was made from as rows of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from statistics import fmean

from privaudit.diff.values import ACCURACY, Cell, Change, Diff, Row
from privaudit.report.columns import Column, Style, absent
from privaudit.report.leaves import shortened, spelled
from privaudit.statistics import table
from privaudit.statistics.metric import Metric

_LONGEST = 40  # characters of a value
_DIGEST = 15  # and of a hash


def change_words(change: Change, style: Style) -> tuple[str, str, str, str]:
    """Section, path, and what stands there in A and in B; all escaped."""
    hashed = change.section == "data" or change.path[-1] == "source"
    quoted = change.section == "recipe"  # where "1" and 1 are not the same
    a, b = (
        value if isinstance(value, str) and not quoted else spelled(value)
        for value in (change.a, change.b)
    )
    short = shortened([a, b], _DIGEST if hashed else _LONGEST)
    words = (change.section, ".".join(change.path), short[a], short[b])
    section, path, a, b = map(style.escape, words)
    return section, path, a, b


def network_columns(rows: Sequence[Row], style: Style) -> list[Column]:
    """The accuracy of each level's networks in A, in B, and how far these lie apart."""
    percent = style.escape("%")
    cells = [row.cells[ACCURACY] for row in rows]
    means = {name: [_mean(getattr(cell, name.lower())) for cell in cells] for name in "AB"}
    return [
        *_names(rows, style),
        *(
            Column(
                "network", "", (f"test {percent}", name), [f"{100 * mean:.1f}" for mean in column]
            )
            for name, column in means.items()
        ),
        Column(
            "network",
            "",
            ("B minus A,", "points"),
            [_cell(cell, 100, 1, style, style.missing) for cell in cells],
        ),
    ]


def attack_columns(found: Diff, style: Style) -> list[Column]:
    """How far each metric of B lies from A's; without those that no row can tell."""
    rows = found.rows
    names = _names(rows, style)
    names.append(Column("name", "", ("attack",), [style.escape(row.attack) for row in rows]))
    columns = [_column(metric, rows, style) for metric in shown(found)]
    # Each is a group of its own, without a label: the table is cut between any two of them, and
    # the names get the room that one leaves.
    return [*names, *(replace(c, group=" " * (n % 2)) for n, c in enumerate(columns))]


def shown(found: Diff) -> list[Metric]:
    """The metrics that at least one row can tell."""
    return [
        metric
        for metric in table.named(found.metrics)
        if any(row.cells[metric.name].value is not None for row in found.rows)
    ]


def _names(rows: Sequence[Row], style: Style) -> list[Column]:
    names = [Column("name", "", ("subject",), [style.escape(row.subject) for row in rows])]
    if any(row.level for row in rows):
        names.append(Column("name", "", ("level",), [style.escape(row.level) for row in rows]))
    return names


def _column(metric: Metric, rows: Sequence[Row], style: Style) -> Column:
    nothing = absent(metric, style)
    cells = [
        _cell(row.cells[metric.name], metric.scale, metric.digits, style, nothing) for row in rows
    ]
    heading = [h if h.startswith("@") else h.replace(" %", " points") for h in metric.heading]
    return Column("attack", "", tuple(map(style.escape, heading)), cells)


def _cell(cell: Cell, scale: int, digits: int, style: Style, nothing: str) -> str:
    if cell.value is None:
        return nothing
    tested = cell.comparison
    value = signed(scale * cell.value, digits)
    if tested is None or not (isfinite(tested.low) and isfinite(tested.high)):
        return f"{value}  "  # in line with those that have a mark's place
    limits = ", ".join(signed(scale * limit, digits) for limit in (tested.low, tested.high))
    return f"{value} [{limits}] {style.significant if tested.significant else ' '}"


def signed(value: float, digits: int) -> str:
    """A number with its sign, and without one where it is rounded to nothing.

    >>> signed(-0.04, 1), signed(0.05, 2)
    ('0.0', '+0.05')
    """
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def _mean(values: Sequence[float | None]) -> float:
    return fmean(value for value in values if value is not None)
