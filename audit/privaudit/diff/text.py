"""A diff for people: words first, then the numbers, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from rich.text import Text

from privaudit.diff.columns import attack_columns, change_words, network_columns, shown
from privaudit.diff.sentences import legend, lone_lines, nothing_else
from privaudit.diff.values import Diff
from privaudit.report.columns import ASCII, TERMINAL, Style
from privaudit.report.fold import folded
from privaudit.report.table import table_lines

if TYPE_CHECKING:
    from rich.console import Console

SAME_RUN = "A and B are the same run: nothing differs."
_INDENT = "  "


def print_diff(found: Diff, console: Console, notes: Sequence[str] = ()) -> None:
    """Print it at the console's width; in ASCII where it knows no more.

    Args:
        found: the diff.
        console: where to.
        notes: lines to end with, such as the doubts of the runs.
    """
    style = TERMINAL if console.encoding.startswith("utf") else ASCII
    for line in diff_lines(found, style, console.width, notes):
        console.print(line, soft_wrap=True)


def diff_lines(found: Diff, style: Style, width: int, notes: Sequence[str] = ()) -> list[Text]:
    """All lines, none wider than `width` but where one name or number needs more."""
    lines = [
        Text(line)
        for name, run in (("A", found.a), ("B", found.b))
        for line in folded(f"{name}: {style.escape(run)}", width)
    ]
    ending = [Text(line, "dim") for note in notes for line in folded(style.escape(note), width)]
    if found.same_run:
        return [*lines, Text(), *map(Text, folded(SAME_RUN, width)), *ending]
    lines += [Text(), *_made_from(found, style, width)]
    if found.networks:
        lines += [Text(), *table_lines(network_columns(found.networks, style), [], style, width)]
    if found.rows and shown(found):
        lines += table_lines(attack_columns(found, style), [], style, width)
    elif not found.rows:
        lines.append(Text())
    sentences = [*legend(found), *lone_lines(found)]
    lines += [Text(line, "dim") for text in sentences for line in folded(style.escape(text), width)]
    return [*lines, *ending]


def _made_from(found: Diff, style: Style, width: int) -> list[Text]:
    """What the runs were made from, section by section."""
    arrow = "->" if style is ASCII else "→"
    lines = []
    words = [change_words(change, style) for change in found.changes]
    for section, changes in groupby(words, itemgetter(0)):
        lines.append(Text(f"Differs: {section}", "bold"))
        for _, path, a, b in changes:
            first, *more = folded(f"{path}: {a} {arrow} {b}", width - 2 * len(_INDENT))
            lines.append(Text(_INDENT + first))
            lines += [Text(2 * _INDENT + line) for line in more]
    sentences = filter(None, [nothing_else(found), *found.untold])
    lines += [Text(line) for text in sentences for line in folded(style.escape(text), width)]
    return lines
