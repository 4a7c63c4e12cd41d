"""Runs side by side: one row for each subject and level, in every format people need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.text import Text

from privaudit.report.aggregate import compare, shown
from privaudit.report.choose import default_metrics, means_only, pick_metrics
from privaudit.report.columns import (
    ASCII,
    LATEX,
    MARKDOWN,
    TERMINAL,
    Style,
    attack_columns,
    columns,
)
from privaudit.report.doubtful import doubt_lines, doubt_records, failure_records
from privaudit.report.fit import left_out, left_out_told
from privaudit.report.formats import as_csv, as_json, as_latex, as_markdown
from privaudit.report.gates import GateFinding
from privaudit.report.gating.asked import Accepted
from privaudit.report.inputs import run_records
from privaudit.report.legend import legend
from privaudit.report.rows import Row
from privaudit.report.table import legend_lines, sentence_lines, table_lines
from privaudit.report.verdict import sentences_of
from privaudit.statistics import table
from privaudit.store.result import RunResult

if TYPE_CHECKING:
    from rich.console import Console

_MANY = 3  # attacks on a single network are easier to compare below each other

__all__ = ["Format", "compare", "print_table", "print_verdict", "render"]

Format = Literal["table", "markdown", "csv", "json", "latex"]


def render(
    results: Sequence[RunResult],
    *,
    format: Format = "table",
    baseline: str | None = None,
    sort: str | None = None,
    attacks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    width: int = 80,
    cost: bool = False,
    means: bool = False,
    intervals: bool = False,
    explanation: Mapping[str, Any] | None = None,
    rows: Sequence[Row] | None = None,
    gates: Sequence[GateFinding] = (),
    accepted: Sequence[Accepted] = (),
) -> str:
    """The comparison of runs as text, without colours, ending in a newline.

    Args:
        results: the runs, in the order of the report.
        format: what to write.
        baseline: SUBJECT or SUBJECT/LEVEL that changes are measured against; without, each run's
            first row.
        sort: one of `choose.ORDERS`; without, run order.
        attacks: labels of the attacks to show; without, all.
        metrics: names of `statistics.table`; without, those of every table, and for CSV and JSON
            all.
        width: of the table, in terminal cells.
        cost: show parameters, multiply-adds and time, which CSV and JSON always hold.
        means: leave out standard deviations and intervals, which CSV and JSON always hold.
        intervals: show the interval of every metric that has one, and of its change, likewise.
        explanation: `explain.explain`'s as a dictionary, to go with the rows in JSON.
        rows: what `compare` makes of the runs and the baseline, where that is known already: it
            takes time.
        gates: what `gates.judge_runs` found, to go with the rows in Markdown and JSON.
        accepted: doubts that these pass over, for JSON.

    Raises:
        RecipeError: the baseline, the order, an attack or a metric is not known.
    """
    every = compare(results, baseline) if rows is None else rows
    rows = shown(every, sort, attacks)
    if format in ("csv", "json"):
        chosen = pick_metrics(metrics, table.names())
        told = doubt_records(results), failure_records(results)
        if format == "csv":
            return as_csv(rows, chosen, *told)
        verdict = sentences_of(every, results)
        runs = run_records(results)
        return as_json(rows, chosen, explanation, *told, verdict, gates, accepted, runs)
    verdict = sentences_of(every, results)
    rows = means_only(rows) if means else rows
    if format == "table":
        doubts = doubt_lines(results, TERMINAL.escape)
        lines = _lines(rows, metrics, TERMINAL, width, cost, intervals, doubts)
        lines += [Text(), *sentence_lines(verdict, TERMINAL, width)]
        return "".join(f"{line.plain}\n" for line in lines)
    chosen = pick_metrics(metrics, default_metrics(rows))
    if format == "latex":
        doubts = doubt_lines(results, LATEX.escape)
        return as_latex(rows, chosen, cost, intervals, doubts, verdict)
    doubts = doubt_lines(results, MARKDOWN.escape)
    return as_markdown(rows, chosen, cost, intervals, doubts, verdict, gates)


def print_table(
    results: Sequence[RunResult],
    console: Console,
    *,
    baseline: str | None = None,
    sort: str | None = None,
    attacks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    cost: bool = False,
    means: bool = False,
    intervals: bool = False,
    rows: Sequence[Row] | None = None,
) -> None:
    """Print the comparison at the console's width; in ASCII where it knows no more.

    Raises:
        RecipeError: as `render`.
    """
    style = _style(console)
    every = compare(results, baseline) if rows is None else rows
    rows = shown(every, sort, attacks)
    verdict = sentences_of(every, results)  # about all attacks, whichever are shown
    rows = means_only(rows) if means else rows
    doubts = doubt_lines(results, style.escape)
    lines = _lines(rows, metrics, style, console.width, cost, intervals, doubts)
    for line in [*lines, Text(), *sentence_lines(verdict, style, console.width)]:
        console.print(line, soft_wrap=True)  # a line that does not fit is never cut


def print_verdict(
    results: Sequence[RunResult], console: Console, *, baseline: str | None = None
) -> None:
    """Print the sentences that end a table, alone.

    Raises:
        RecipeError: no run has that baseline.
    """
    style = _style(console)
    verdict = sentences_of(compare(results, baseline), results)
    for line in sentence_lines(verdict, style, console.width):
        console.print(line, soft_wrap=True)


def _style(console: Console) -> Style:
    return TERMINAL if console.encoding.startswith("utf") else ASCII


def _lines(
    rows: Sequence[Row],
    metrics: Sequence[str],
    style: Style,
    width: int,
    cost: bool,
    intervals: bool,
    doubts: Sequence[str],
) -> list[Text]:
    chosen = pick_metrics(metrics, default_metrics(rows))
    tables = [columns(rows, chosen, style, cost, intervals)]
    if len(rows) == 1 and not rows[0].failed and len(rows[0].attacks) >= _MANY:
        network = [column for column in tables[0] if column.kind != "attack"]
        tables = [network, attack_columns(rows[0], chosen, style, intervals)]
    dropped: list[str] = []
    if not metrics:  # what is asked for is shown
        dropped = [name for each in tables for name in left_out(each, width)]
        tables = [[column for column in each if column.name not in dropped] for each in tables]
    left = [name for name in chosen if name not in dropped]
    sentences = [*legend(rows, left, style, cost, intervals), *left_out_told(dropped, style)]
    lines = [line for each in tables for line in table_lines(each, [], style, width)]
    return lines + legend_lines([*sentences, *doubts], width)
