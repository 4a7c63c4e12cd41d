"""The columns of a comparison as text: the one place where shares become per cent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from typing import Literal

from privaudit.report.escape import latex, markdown, plain
from privaudit.report.rows import AttackSummary, Row, Summary
from privaudit.statistics import table
from privaudit.statistics.metric import Metric

MEANINGLESS = 1000
"""An ε above it promises nothing: a likelihood ratio of e to the 1000."""

FAILED = "failed"
"""What stands for numbers that a run could not find out."""

MUTE = "says nothing"
"""What stands for the numbers of an attack that gives all or most examples the same score."""


@dataclass(frozen=True)
class Style:
    """How a format writes words and signs.

    Attributes:
        escape: makes a stranger's words harmless.
        plus_minus: between mean and standard deviation.
        better: mark of a gain by the paper's rule.
        worse: mark of a loss by it.
        significant: mark of a change that is tested.
        missing: where there is nothing to show.
        rule: what lines are drawn with.
    """

    escape: Callable[[str], str]
    plus_minus: str = "±"
    better: str = "▲"
    worse: str = "▼"
    missing: str = "–"
    rule: str = "─"
    significant: str = "*"


TERMINAL = Style(plain)
ASCII = Style(
    lambda text: plain(text).encode("ascii", "replace").decode(), "+-", "^", "v", "-", "-"
)
MARKDOWN = Style(markdown, significant=markdown("*"))
LATEX = Style(latex, r"$\pm$", r"$\uparrow$", r"$\downarrow$", "--", significant=latex("*"))


@dataclass(frozen=True)
class Column:
    """One column: a heading of one or two lines, and a cell for each row, all escaped.

    Attributes:
        kind: what a row is called, what its networks measured, or had noted, or an attack.
        group: label of the attack; empty otherwise.
        heading: one or two lines.
        cells: one for each row.
        name: of the metric, or of what else it holds; empty where nobody asks for it by name.
    """

    kind: Literal["name", "network", "note", "attack"]
    group: str
    heading: tuple[str, ...]
    cells: list[str]
    name: str = ""


def columns(
    rows: Sequence[Row],
    metrics: Sequence[str],
    style: Style,
    cost: bool = False,
    intervals: bool = False,
) -> list[Column]:
    """Every column of the comparison: names, network, and for each attack its metrics.

    A metric that an attack has for no row may be left out (`Absence.hides`). What the networks
    cost stands there if wanted, what has been noted about them wherever there is any, and levels
    where they have names. With `intervals` every metric that has one shows it instead of its
    standard deviation, and beside the one whose changes are marked stands how far it changed.
    """
    escape = style.escape
    percent = escape("%")
    table_columns = [Column("name", "", ("subject",), [escape(row.subject) for row in rows])]
    if len({row.run for row in rows}) > 1:
        table_columns.insert(0, Column("name", "", ("run",), [escape(row.run) for row in rows]))
    if any(row.level for row in rows):
        table_columns.append(Column("name", "", ("level",), [escape(row.level) for row in rows]))
    nonzero = [FAILED if isnan(row.density) else f"{100 * row.density:.2f}" for row in rows]
    table_columns.append(Column("network", "", (f"nonzero {percent}",), nonzero))
    table_columns += _cost_columns(rows, style) if cost else []
    accuracies = {"train": [row.train for row in rows], "test": [row.test for row in rows]}
    for head, summaries in accuracies.items():
        cells = [_spread(summary, style) for summary in summaries]
        table_columns.append(Column("network", "", (f"{head} {percent}",), cells, head))
    for name in dict.fromkeys(name for row in rows for name in row.notes):
        cells = [_note(name, row.notes.get(name), style) for row in rows]
        heading = tuple(map(escape, name.rsplit(" ", 1)))
        table_columns.append(Column("note", "", heading, cells))
    labels = [label for row in rows for label in row.attacks]
    labels += [label for row in rows for label in sorted(row.failed - {""})]
    for label in dict.fromkeys(labels):
        attacks = [row.attacks.get(label) for row in rows]
        for metric in table.named(metrics):
            if metric.absence.hides and not any(a and a.metrics[metric.name] for a in attacks):
                continue
            column = _column(escape(label), metric, attacks, style, intervals)
            cells = list(map(partial(_told, label), rows, column.cells))
            table_columns.append(replace(column, cells=cells))
            if intervals and metric.marked and any(a and a.comparison for a in attacks):
                table_columns.append(_change_column(escape(label), metric, attacks, style))
    return table_columns


def _cost_columns(rows: Sequence[Row], style: Style) -> list[Column]:
    def column(heading: tuple[str, ...], values: Sequence[float | None], shape: str) -> Column:
        cells = [style.missing if value is None else f"{value:{shape}}" for value in values]
        return Column("network", "", heading, cells)

    seconds = [row.seconds for row in rows]
    return [
        column(("nonzero", "parameters"), [row.parameters for row in rows], ",.0f"),
        column(("multiply-adds",), [row.multiply_adds for row in rows], ",.0f"),
        column(("ms per", "example"), [s and 1000 * s for s in seconds], ".3g"),
    ]


def attack_columns(
    row: Row, metrics: Sequence[str], style: Style, intervals: bool = False
) -> list[Column]:
    """The attacks on one row, below each other: a line for each."""
    attacks = list(row.attacks.values())
    return [
        Column("name", "", ("attack",), [style.escape(label) for label in row.attacks]),
        *(_column("", metric, attacks, style, intervals) for metric in table.named(metrics)),
    ]


def headed(metric: Metric, style: Style) -> tuple[str, ...]:
    """The heading of a metric's column, escaped."""
    return tuple(map(style.escape, metric.heading))


def absent(metric: Metric, style: Style) -> str:
    """What stands in the cells of a metric that is not known."""
    sign = metric.absence.sign
    return style.missing if sign is None else style.escape(sign)


def _column(
    group: str,
    metric: Metric,
    attacks: Sequence[AttackSummary | None],
    style: Style,
    intervals: bool,
) -> Column:
    cells = [
        style.missing
        if attack is None
        else _cell(metric, attack.metrics[metric.name], style, intervals)
        for attack in attacks
    ]
    silent = [attack is not None and attack.mute for attack in attacks]
    cells = [MUTE if mute else cell for mute, cell in zip(silent, cells, strict=True)]
    if metric.marked:
        marks = [_mark(attack, style) for attack in attacks]
        width = max(map(len, marks), default=0)
        cells = [cell + mark.ljust(width) for cell, mark in zip(cells, marks, strict=True)]
    return Column("attack", group, headed(metric, style), cells, metric.name)


def _told(label: str, row: Row, cell: str) -> str:
    """A cell of an attack, with the networks of the row that it failed on, which are no part."""
    if not row.failed & {"", label}:
        return cell
    if label not in row.attacks:
        return FAILED
    return f"{cell.rstrip()} ({row.models - row.attacks[label].audits} {FAILED})"


def _change_column(
    group: str, metric: Metric, attacks: Sequence[AttackSummary | None], style: Style
) -> Column:
    """How far the metric lies from the baseline's, in points, with its own 95 % interval."""
    cells = []
    for attack in attacks:
        change = None if attack is None else attack.comparison
        if change is None:
            cells.append(style.missing)
            continue
        value, low, high = (
            f"{metric.scale * number:+.{metric.digits}f}"
            for number in (change.value, change.low, change.high)
        )
        cells.append(f"{value} [{low}, {high}]")
    return Column("attack", group, ("minus baseline,", "points"), cells)


def _cell(metric: Metric, summary: Summary | None, style: Style, intervals: bool) -> str:
    if summary is None:
        return absent(metric, style)
    if metric.cell == "interval" or (intervals and summary.low is not None):
        return _interval(summary, metric.scale, metric.digits)
    if metric.cell == "deviation":
        return _spread(summary, style, metric.scale, metric.digits)
    return f"{metric.scale * summary.mean:.{metric.digits}f}"


def _mark(attack: AttackSummary | None, style: Style) -> str:
    if attack is None:
        return ""
    signs = {"better": style.better, "worse": style.worse, None: ""}
    significant = attack.comparison is not None and attack.comparison.significant
    mark = signs[attack.change] + (style.significant if significant else "")
    return f" {mark}" if mark else ""


def _note(name: str, summary: Summary | None, style: Style) -> str:
    """Mean ± std of a number that may be of any size."""
    if summary is None:
        return style.missing
    if name == "epsilon" and summary.mean > MEANINGLESS:
        return f"{style.escape('>')} {MEANINGLESS}"
    mean = f"{summary.mean:.3g}"
    exact = summary.std is None or summary.std <= 1e-9 * abs(summary.mean)
    spread = "" if exact else f" {style.plus_minus} {summary.std:.2g}"
    return mean + spread


def _spread(summary: Summary, style: Style, scale: int = 100, digits: int = 1) -> str:
    """Mean ± std of a share, in per cent unless told otherwise."""
    if isnan(summary.mean):
        return FAILED
    mean = f"{scale * summary.mean:.{digits}f}"
    if summary.std is None:
        return mean
    return f"{mean} {style.plus_minus} {scale * summary.std:.{digits}f}"


def _interval(summary: Summary, scale: int, digits: int) -> str:
    mean = f"{scale * summary.mean:.{digits}f}"
    if summary.low is None or summary.high is None:
        return mean
    return f"{mean} [{scale * summary.low:.{digits}f}, {scale * summary.high:.{digits}f}]"
