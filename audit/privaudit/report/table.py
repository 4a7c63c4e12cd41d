"""The table for people: as wide as the terminal, its numbers never cut.

Columns stand side by side where they fit; where they do not, the table goes on in another below
it, attack by attack, each repeating what its rows are called.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from rich.cells import cell_len, chop_cells
from rich.text import Text

from privaudit.report.columns import Column, Style

_GAP = 2
_NARROWEST = 6  # what a column of names may shrink to
_LONGEST = 24  # what an attack's label may claim before it is folded


def table_lines(
    columns: Sequence[Column], legend: Sequence[str], style: Style, width: int
) -> list[Text]:
    """The lines of the table and its legend.

    No line is wider than `width`, unless the names and one column of numbers do not fit.
    """
    names = [column for column in columns if column.kind == "name"]
    numbers = [column for column in columns if column.kind != "name"]
    groups = [_wide_enough(group) for group in _grouped(numbers)]
    widest = max(map(_width, groups))
    name_room = max(width - widest - _GAP, width // 3)
    names_widths = _shrunk([_natural(column) for column in names], name_room)
    room = width - sum(names_widths) - _GAP * len(names)
    lines: list[Text] = []
    for part in _packed(groups, room):
        widths = [*names_widths, *map(_natural, part)]
        lines += [*_part([*names, *part], widths, style), Text()]
    for sentence in legend:
        lines += [Text(line, "dim") for line in folded(sentence, width)]
    return lines


def sentence_lines(sentences: Sequence[str], style: Style, width: int) -> list[Text]:
    """The sentences below a table and its legend: a line apart, each on lines of its own."""
    folded_lines = [folded(style.escape(sentence), width) for sentence in sentences]
    return [Text(line) for lines in ([""], *folded_lines) for line in lines] if sentences else []


def _grouped(columns: Sequence[Column]) -> list[list[Column]]:
    return [
        list(group) for _, group in groupby(columns, lambda column: (column.kind, column.group))
    ]


def _natural(column: Column) -> int:
    return max(map(cell_len, (*column.heading, *column.cells)))


def _joint(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _width(columns: Sequence[Column]) -> int:
    return _joint([_natural(column) for column in columns])


def _wide_enough(group: list[Column]) -> list[Column]:
    """The group with its first column widened where its label needs the room."""
    first, label = group[0], cell_len(group[0].group)
    more = min(label, _LONGEST) + 4 - _width(group) if label else 0
    if more <= 0:
        return group
    heading = (*first.heading[:-1], first.heading[-1].rjust(_natural(first) + more))
    return [replace(first, heading=heading), *group[1:]]


def _shrunk(widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit the room side by side, the widest giving way first."""
    widths = list(widths)
    while _joint(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _packed(groups: Sequence[list[Column]], room: int) -> list[list[Column]]:
    """The columns of each part: whole groups where one fits, else column by column."""
    parts: list[list[Column]] = [[]]
    for group in groups:
        for piece in [group] if _width(group) <= room else [[column] for column in group]:
            if parts[-1] and _width([*parts[-1], *piece]) > room:
                parts.append([])
            parts[-1] += piece
    return parts


def _part(columns: Sequence[Column], widths: Sequence[int], style: Style) -> list[Text]:
    tall = max(len(column.heading) for column in columns)
    heads = [[""] * (tall - len(column.heading)) + [*column.heading] for column in columns]
    lines = _group_lines(columns, widths, style) + _side_by_side(columns, widths, heads)
    styled = [Text(line, "bold") for line in lines]
    styled.append(Text(style.rule * _joint(widths), "dim"))
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
    for group in _grouped(columns):
        span = _joint(widths[start : start + len(group)])
        start += len(group)
        label = folded(group[0].group, span - 4)
        spans.append(span)
        cells.append([_centred(f" {line} ", span, style.rule) for line in label if line])
    tall = max(map(len, cells))
    rows = [[""] * (tall - len(cell)) + cell for cell in cells]
    return [
        (" " * _GAP).join(_padded(cell[line], span) for cell, span in zip(rows, spans, strict=True))
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
        lines.append((" " * _GAP).join(padded).rstrip())
    return lines


def _padded(text: str, width: int, left: bool = True) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text


def _centred(text: str, width: int, fill: str) -> str:
    space = max(width - cell_len(text), 0)
    return fill * (space // 2) + text + fill * (space - space // 2)


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells, broken between words where that is possible."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines = [*lines, *chop_cells(word, max(width, 2))]
    return [line for line in lines if line] or [""]


def _marked(line: str, style: Style) -> Text:
    text = Text(line)
    for mark, colour in ((style.better, "green"), (style.worse, "red")):
        text.highlight_regex(
            rf"(?<=[\d\]] ){re.escape(mark)}(?=[ {re.escape(style.significant)}]|$)", colour
        )
    return text
