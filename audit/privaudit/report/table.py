"""The table for people: as wide as the terminal, its numbers never cut.

Columns stand side by side where they fit; where they do not, the table goes on in another below
it, attack by attack, each repeating what its rows are called. `fit.left_out` says which columns
give way to names; a name is broken between words first, then between their parts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.text import Text

from privaudit.report.columns import Column, Style
from privaudit.report.fit import (
    GAP,
    grouped,
    joint,
    least_width,
    names_shrunk,
    natural,
    split,
    taken,
)
from privaudit.report.fold import folded


def table_lines(
    columns: Sequence[Column], legend: Sequence[str], style: Style, width: int
) -> list[Text]:
    """The lines of the table and its legend.

    No line is wider than `width`, unless the names and one column of numbers do not fit.
    """
    names, numbers = split(columns)
    groups = grouped(numbers)
    widest = max(map(taken, groups))
    if least_width(names) + GAP + widest > width:  # a group is taken apart before a name is
        widest = max(map(natural, numbers))
    names_widths = names_shrunk(names, max(width - widest - GAP, width // 3))
    room = width - sum(names_widths) - GAP * len(names)
    lines: list[Text] = []
    for part in _packed(groups, room):
        widths = [*names_widths, *map(natural, part)]
        lines += [*_part([*names, *part], widths, style), Text()]
    return lines + legend_lines(legend, width)


def legend_lines(legend: Sequence[str], width: int) -> list[Text]:
    """The lines below a table that say what its signs mean."""
    return [Text(line, "dim") for sentence in legend for line in folded(sentence, width)]


def sentence_lines(sentences: Sequence[str], style: Style, width: int) -> list[Text]:
    """The sentences below a table and its legend, each on lines of its own."""
    return [Text(line) for each in sentences for line in folded(style.escape(each), width)]


def _wide_enough(group: Sequence[Column], room: int) -> list[Column]:
    """The group with its first column widened where its label needs the room."""
    first = group[0]
    more = min(taken(group), room) - joint([natural(column) for column in group])
    if more <= 0:
        return [*group]
    heading = (*first.heading[:-1], first.heading[-1].rjust(natural(first) + more))
    return [replace(first, heading=heading), *group[1:]]


def _packed(groups: Sequence[list[Column]], room: int) -> list[list[Column]]:
    """The columns of each part: whole groups where one fits, else column by column."""
    parts: list[list[Column]] = [[]]
    for group in groups:
        for piece in [group] if taken(group) <= room else [[column] for column in group]:
            together = joint([taken(each) for each in grouped([*parts[-1], *piece])])
            if parts[-1] and together > room:
                parts.append([])
            parts[-1] += piece
    return [
        [column for group in grouped(part) for column in _wide_enough(group, room)]
        for part in parts
    ]


def _part(columns: Sequence[Column], widths: Sequence[int], style: Style) -> list[Text]:
    headings = [
        folded(" ".join(column.heading), width) if column.kind == "name" else [*column.heading]
        for column, width in zip(columns, widths, strict=True)
    ]
    tall = max(map(len, headings))
    heads = [[""] * (tall - len(heading)) + heading for heading in headings]
    lines = _group_lines(columns, widths, style) + _side_by_side(columns, widths, heads)
    styled = [Text(line, "bold") for line in lines]
    styled.append(Text(style.rule * joint(widths), "dim"))
    for row in _shown(columns, style):
        cells = [
            folded(column.cells[row], width) if column.kind == "name" else [column.cells[row]]
            for column, width in zip(columns, widths, strict=True)
        ]
        styled += [_marked(line, style) for line in _side_by_side(columns, widths, cells)]
    return styled


def _shown(columns: Sequence[Column], style: Style) -> list[int]:
    """The rows to show: where there are only notes, those that have one."""
    numbers = [column for column in columns if column.kind != "name"]
    rows = list(range(len(columns[0].cells)))
    if any(column.kind != "note" for column in numbers):
        return rows
    return [row for row in rows if any(column.cells[row] != style.missing for column in numbers)]


def _group_lines(columns: Sequence[Column], widths: Sequence[int], style: Style) -> list[str]:
    """The attacks' labels, each over its own columns."""
    cells, spans, start = [], [], 0
    for group in grouped(columns):
        span = joint(widths[start : start + len(group)])
        start += len(group)
        label = folded(group[0].group, span - 4)
        spans.append(span)
        cells.append([_centred(f" {line} ", span, style.rule) for line in label if line])
    tall = max(map(len, cells))
    rows = [[""] * (tall - len(cell)) + cell for cell in cells]
    return [
        (" " * GAP).join(_padded(cell[line], span) for cell, span in zip(rows, spans, strict=True))
        for line in range(tall)
    ]


def _side_by_side(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Sequence[str]]
) -> list[str]:
    """Cells of several lines as lines: names to the left, numbers to the right."""
    lines = []
    for line in range(max(map(len, cells))):
        texts = [cell[line] if line < len(cell) else "" for cell in cells]
        padded = [
            _padded(text, width, left=column.kind == "name")
            for column, text, width in zip(columns, texts, widths, strict=True)
        ]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _padded(text: str, width: int, left: bool = True) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text


def _centred(text: str, width: int, fill: str) -> str:
    space = max(width - cell_len(text), 0)
    return fill * (space // 2) + text + fill * (space - space // 2)


def _marked(line: str, style: Style) -> Text:
    text = Text(line)
    for mark, colour in ((style.better, "green"), (style.worse, "red")):
        text.highlight_regex(
            rf"(?<=[\d\]] ){re.escape(mark)}(?=[ {re.escape(style.significant)}]|$)", colour
        )
    return text
