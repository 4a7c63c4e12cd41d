"""How the sentences call rows, and how they list and count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from privaudit.report.escape import plain
from privaudit.report.rows import Row

_SHOWN = 3  # names that a sentence lists; of more it says how many


def audited(rows: Iterable[Row]) -> list[Row]:
    """The rows of which numbers are known."""
    return [row for row in rows if "" not in row.failed and row.attacks]


def row_name(row: Row, rows: Sequence[Row]) -> str:
    """Subject and level, after the run's name where there are several; harmless."""
    several = len({other.run for other in rows}) > 1
    return plain(f"{row.run}: {row.name}" if several else row.name)


def listed(names: Iterable[str]) -> str:
    """Names as a sentence has them.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d", "e"])
    ('a', 'a, b and c', 'a, b, c and 2 more')
    """
    parts = few(names)
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def few(names: Iterable[str]) -> list[str]:
    """The first names, each once, and how many more there are."""
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - _SHOWN
    return distinct[:_SHOWN] + ([f"{more} more"] if more > 0 else [])


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "attack"), counted(1200, "attack")
    ('1 attack', '1,200 attacks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
