"""What must not have changed: conditions that end a pipeline where they hold.

A condition is about B minus A as it was measured, in every row that both runs have. It fails
closed, as gates do: where a row cannot tell its metric, or a run has failed at one that the other
has, or nobody has accepted a doubt about either, nobody knows that it does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf
from typing import Literal

from privaudit.diff.sentences import several
from privaudit.diff.values import ACCURACY, Cell, Diff, Row
from privaudit.doubts.doubt import Doubt, in_doubt
from privaudit.errors import RecipeError
from privaudit.statistics import table
from privaudit.statistics.conditions import unknown_metric, written

_FORMS = (
    "is not METRIC>+NUMBER, METRIC<-NUMBER or |METRIC|>NUMBER, such as auc>+0.02, defense<-0.05 "
    "or |test_accuracy|>0.03"
)


@dataclass(frozen=True)
class FailIf:
    """A condition on how far a metric of B lies from that of A.

    Attributes:
        text: as the user wrote it, without spaces.
        metric: its name in `statistics.table`, or `ACCURACY`.
        sign: "<" or ">".
        limit: what the difference is held against.
        absolute: whether it is held by its size alone.
    """

    text: str
    metric: str
    sign: Literal["<", ">"]
    limit: float
    absolute: bool = False

    def holds(self, value: float) -> bool:
        """Whether it holds for a difference."""
        value = abs(value) if self.absolute else value
        return value > self.limit if self.sign == ">" else value < self.limit


@dataclass(frozen=True)
class Finding:
    """Where a condition holds.

    Attributes:
        condition: which one.
        rows: those in which it holds.
        untold: names of those in which nobody knows, by the reason.
        looked_at: how many rows there are.
    """

    condition: FailIf
    rows: tuple[Row, ...]
    untold: dict[str, list[str]]
    looked_at: int

    @property
    def failed(self) -> bool:
        """Whether it ends a pipeline."""
        return bool(self.rows or self.untold)

    def sentences(self) -> list[str]:
        """A line for where it holds, and one for each reason why that cannot be told."""
        opening = f"fail-if {self.condition.text}:"
        lines = []
        if self.rows:
            cells = [(row.name, row.cells[self.condition.metric]) for row in self.rows]
            shown = [f"{name} ({self._number(cell)})" for name, cell in cells]
            lines.append(f"{opening} HOLDS for {several(shown)}")
        for reason, names in self.untold.items():
            lines.append(f"{opening} CANNOT BE TOLD for {several(names)}, because {reason}")
        return lines or [f"{opening} holds for none of {self.looked_at} rows"]

    def _number(self, cell: Cell) -> str:
        value = cell.value or 0.0
        # Rounded for people, but never so far that it looks as if the condition did not hold.
        text = f"{value:+.4g}"
        if not self.condition.holds(float(text)):
            text = f"{value!r}" if value < 0 else f"+{value!r}"
        if cell.comparison is None:
            return text
        low, high = cell.comparison.low, cell.comparison.high
        return f"{text}, 95 % interval {low:+.3g} to {high:+.3g}"


def parse_fail_if(text: str) -> FailIf:
    """Read METRIC>+NUMBER, METRIC<-NUMBER or |METRIC|>NUMBER.

    >>> parse_fail_if("tpr@1e-2 > +0.05")
    FailIf(text='tpr@1e-2>+0.05', metric='tpr@0.01', sign='>', limit=0.05, absolute=False)

    Raises:
        RecipeError: it is not of that form, the metric is unknown, or the number cannot be a
            difference of it, or has no sign.
    """
    text = "".join(text.split())
    condition = written(text)
    if condition is None:
        raise _wrong(text, _FORMS)
    name, number = condition.metric, condition.number
    metric = table.spelled(name)
    if metric is None and name != ACCURACY:
        raise _wrong(text, unknown_metric(name, [ACCURACY, *table.names()]))
    signed = number[0] in "+-"
    if condition.absolute and (condition.sign == "<" or signed):
        raise _wrong(text, f"bars are for how far it changed either way: write |{name}|>NUMBER")
    if not condition.absolute and not signed:
        raise _wrong(
            text,
            f"the number is a difference, B minus A: write its sign, {name}{condition.sign}"
            f"+{number} or {name}{condition.sign}-{number}",
        )
    limit = condition.value
    largest = 1.0 if metric is None else metric.bounds[1] - metric.bounds[0]
    if limit is None or not abs(limit) < largest:
        what = "a number" if isinf(largest) else f"a number between -{largest:g} and {largest:g}"
        raise _wrong(text, f"{number!r} must be {what}")
    known = ACCURACY if metric is None else metric.name
    return FailIf(text, known, condition.sign, limit, condition.absolute)


def judge(condition: FailIf, found: Diff, doubts: Sequence[Doubt] = ()) -> Finding:
    """Hold a condition against every row that both runs have.

    Args:
        condition: what must not be.
        found: what differs.
        doubts: of either run, that nobody has accepted: with them no number can be relied on.
    """
    rows = found.networks if condition.metric == ACCURACY else found.rows
    cells = [(row, row.cells[condition.metric]) for row in rows]
    holding = tuple(r for r, c in cells if c.value is not None and condition.holds(c.value))
    untold: dict[str, list[str]] = {}
    for row, cell in cells:
        if cell.value is None:
            untold.setdefault(cell.reason, []).append(row.name)
    for run, other, lone in (("A", "B", found.only_a), ("B", "A", found.only_b)):
        for audits in lone:
            if audits.failed:
                reason = f"{other} failed at what {run} has: {audits.failed}"
                untold.setdefault(reason, []).append(audits.name)
    if names := list(dict.fromkeys(doubt.name for doubt in doubts)):
        untold[f"a run is {in_doubt(names)}"] = ["every row"]
    if not rows:
        untold["they have none in common"] = ["any row of the two runs"]
    return Finding(condition, holding, untold, len(rows))


def _wrong(text: str, problem: str) -> RecipeError:
    return RecipeError(f"--fail-if {text}: {problem}")
