"""A diff for other programs: Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from privaudit.diff.columns import attack_columns, change_words, network_columns, shown
from privaudit.diff.sentences import legend, lone_lines, nothing_else
from privaudit.diff.text import SAME_RUN
from privaudit.diff.values import Cell, Change, Diff, Lone, Row
from privaudit.report.columns import MARKDOWN, Column
from privaudit.report.leaves import Gap
from privaudit.report.rows import Comparison


def as_markdown(found: Diff, notes: Sequence[str] = ()) -> str:
    """Tables of what differs and by how much, and the legend as a list."""
    escape = MARKDOWN.escape
    lines = [f"- A: {escape(found.a)}", f"- B: {escape(found.b)}", ""]
    if found.same_run:
        lines += [SAME_RUN, ""]
    else:
        lines += _tables(found)
        sentences = [nothing_else(found), *found.untold, *legend(found), *lone_lines(found)]
        notes = [*filter(None, sentences), *notes]
    return "\n".join([*lines, *(f"- {escape(note)}" for note in notes), *([""] if notes else [])])


def _tables(found: Diff) -> list[str]:
    lines = []
    if found.changes:
        words = [change_words(change, MARKDOWN) for change in found.changes]
        lines += ["| part | what | A | B |", "| :--- | :--- | :--- | :--- |"]
        lines += [*(f"| {' | '.join(row)} |" for row in words), ""]
    if found.networks:
        lines += _table(network_columns(found.networks, MARKDOWN))
    if found.rows and shown(found):
        lines += _table(attack_columns(found, MARKDOWN))
    return lines


def _table(columns: Sequence[Column]) -> list[str]:
    heads = [" ".join(column.heading) for column in columns]
    rules = [":---" if column.kind == "name" else "---:" for column in columns]
    count = len(columns[0].cells)
    cells = [[column.cells[row].strip() for column in columns] for row in range(count)]
    return [*(f"| {' | '.join(line)} |" for line in (heads, rules, *cells)), ""]


def as_json(found: Diff, more: Mapping[str, Any]) -> str:
    """The diff as it is: shares 0-1, null where a number is not known.

    Args:
        found: the diff.
        more: further keys, such as the doubts of the runs.
    """
    record = {
        "format": 1,
        "a": found.a,
        "b": found.b,
        "same_run": found.same_run,
        "differs": [_change(change) for change in found.changes],
        "cannot_be_told": list(found.untold),
        "comparisons": found.comparisons,
        "networks": [_row(row) for row in found.networks],
        "attacks": [_row(row) for row in found.rows],
        "only_a": [_lone(lone) for lone in found.only_a],
        "only_b": [_lone(lone) for lone in found.only_b],
        **more,
    }
    return json.dumps(record, indent=1, allow_nan=False, default=str) + "\n"


def _change(change: Change) -> dict[str, Any]:
    """A leaf that a run lacks has no value there, not even null."""
    values = {"a": change.a, "b": change.b}
    there = {key: value for key, value in values.items() if not isinstance(value, Gap)}
    return {"section": change.section, "path": list(change.path), **there}


def _row(row: Row) -> dict[str, Any]:
    networks = [{"seed": seed, "target": target} for seed, target in row.networks]
    attack = {"attack": row.attack, "by_example": row.by_example} if row.attack else {}
    return {
        "subject": row.subject,
        "level": row.level,
        **attack,
        "networks": networks,
        "metrics": {name: _cell(cell) for name, cell in row.cells.items()},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "a": list(cell.a),
        "b": list(cell.b),
        "difference": cell.value,
        "test": cell.comparison and _comparison(cell.comparison),
        "reason": cell.reason,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "low": comparison.low,
        "high": comparison.high,
        "p": comparison.p,
        "p_holm": comparison.adjusted,
        "significant": comparison.significant,
        "pairs": comparison.pairs,
        "over": comparison.over,
    }


def _lone(lone: Lone) -> dict[str, Any]:
    return {
        "subject": lone.subject,
        "level": lone.level,
        "attack": lone.attack,
        "networks": [{"seed": seed, "target": target} for seed, target in lone.networks],
        "failed": lone.failed,
    }
