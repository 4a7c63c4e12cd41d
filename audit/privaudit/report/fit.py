"""How wide columns are, and which are left out so that names stay in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from rich.cells import cell_len

from privaudit.report.columns import Column, Style
from privaudit.report.fold import longest_part, longest_word

GAP = 2

LEAST_IMPORTANT = ("tpr@0.001", "tpr@0.01", "train")
"""Columns by name, in the order in which they are left out; the others always stay."""

_LONGEST = 24  # what an attack's label may claim before it is broken

_FLOORS: tuple[Callable[[str], int], ...] = (cell_len, longest_word, longest_part)
"""The cells that a name takes: in one line, broken between words, or between their parts."""


def left_out(columns: Sequence[Column], width: int) -> list[str]:
    """The names of the columns to leave out so that no row's name is broken.

    If that is not enough, so few that names are broken between words, or between their parts;
    none where nothing helps.

    Args:
        columns: of a table, names among them.
        width: of the terminal, in cells.
    """
    names, numbers = split(columns)
    for floor in _FLOORS:
        room = width - sum(_needed(column, floor) + GAP for column in names)
        dropped = [_dropped(group, room) for group in grouped(numbers)]
        if all(each is not None for each in dropped):
            every = {name for each in dropped for name in each or ()}
            return [name for name in LEAST_IMPORTANT if name in every]
    return []


def left_out_told(names: Sequence[str], style: Style) -> list[str]:
    """What is said of columns that were left out, escaped; nothing where none was."""
    if not names:
        return []
    listed = ", ".join(dict.fromkeys(names))
    return [
        style.escape(
            f"Left out for want of room: {listed}. A wider terminal (or COLUMNS=200 before the "
            "command) shows everything, and so do the other formats of --format."
        )
    ]


def names_shrunk(names: Sequence[Column], room: int) -> list[int]:
    """Widths of the names that fit the room side by side, the widest giving way first.

    They give way as far as words stay whole, then as far as their parts do, and at last for good.
    """
    widths = [natural(column) for column in names]
    floors = [[_needed(column, floor) for column in names] for floor in _FLOORS[1:]]
    for least in [*floors, [_NARROWEST] * len(names)]:
        while joint(widths) > room:
            giving = [n for n, width in enumerate(widths) if width > least[n]]
            if not giving:
                break
            widths[max(giving, key=widths.__getitem__)] -= 1
    return widths


_NARROWEST = 6  # what a column of names shrinks to where nothing else helps


def split(columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Names, and numbers."""
    names = [column for column in columns if column.kind == "name"]
    return names, [column for column in columns if column.kind != "name"]


def grouped(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns of the networks, of their notes, and of each attack."""
    return [
        list(group) for _, group in groupby(columns, lambda column: (column.kind, column.group))
    ]


def natural(column: Column) -> int:
    """The cells of its widest line."""
    return max(map(cell_len, (*column.heading, *column.cells)))


def joint(widths: Sequence[int]) -> int:
    """The cells of columns side by side."""
    return sum(widths) + GAP * (len(widths) - 1)


def taken(group: Sequence[Column]) -> int:
    """The cells of a group under its label, which is broken between the parts of a word at most."""
    label = group[0].group
    head = max(min(cell_len(label), _LONGEST), longest_part(label)) + 4 if label else 0
    return max(joint([natural(column) for column in group]), head)


def least_width(names: Sequence[Column]) -> int:
    """The cells that names take if no part of a word is broken."""
    return joint([_needed(column, longest_part) for column in names])


def _dropped(group: Sequence[Column], room: int) -> list[str] | None:
    """What to leave out of a group so that it fits; None where that does not help."""
    there = {column.name for column in group}
    order = [name for name in LEAST_IMPORTANT if name in there]
    for count in range(len(order) + 1):
        kept = [column for column in group if column.name not in order[:count]]
        if kept and taken(kept) <= room:
            return order[:count]
    return None


def _needed(column: Column, floor: Callable[[str], int]) -> int:
    return max(map(floor, (*column.heading, *column.cells)))
