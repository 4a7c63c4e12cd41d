"""What all pages are made of: a first line, cells, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

COMMAND = "python docs/site/reference.py"


def made_from(source: str) -> str:
    """The first line of a page, which readers of the site do not see.

    Args:
        source: where its words stand.
    """
    return f"<!-- Made from {source} by `{COMMAND}`: change the former, then run the latter. -->"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, its cells being Markdown already."""
    return [_row(heads), _row(["---"] * len(heads)), *map(_row, rows)]


def code(text: str) -> str:
    """A value as it is typed; nothing where there is none."""
    return f"`{text}`" if text else ""


def joined(*parts: str | Iterable[str]) -> str:
    """A page of lines, and of lists of lines."""
    lines = [line for part in parts for line in ([part] if isinstance(part, str) else part)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    r"""A row; an upright bar in a cell is no border.

    >>> _row(["`a|b`", ""])
    '| `a\\\\|b` | |'
    """
    return "| " + " ".join(f"{cell.replace('|', chr(92) + '|')} |".lstrip() for cell in cells)
