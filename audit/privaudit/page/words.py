"""Words on the page: a stranger's are shown as text, on one line, and never at any length."""

from __future__ import annotations

from privaudit.report.columns import Style
from privaudit.report.escape import plain
from privaudit.report.rows import Row

LONGEST_NAME = 80
LONGEST_SENTENCE = 1500


def shortened(text: str, most: int) -> str:
    """The text, its middle left out where it is longer than `most`.

    >>> shortened("abcdefghij", 7)
    'abc…hij'
    """
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def name(text: str) -> str:
    """A label, a class or a run as the page calls it."""
    return shortened(plain(text), LONGEST_NAME)


def sentence(text: str) -> str:
    """A sentence that may hold such names."""
    return shortened(plain(text), LONGEST_SENTENCE)


def row_name(row: Row, several: bool) -> str:
    """What a row of the comparison is called, with its run where there are several."""
    return level_name(row.run if several else "", row.subject, row.level)


def level_name(run: str, subject: str, level: str) -> str:
    """Run, subject and level in one, without those that are empty."""
    named = " / ".join(name(part) for part in (subject, level) if part)
    return f"{name(run)}: {named}" if run else named


CELLS = Style(name)
"""How tables of the page write words; the template makes them harmless as HTML."""

SENTENCES = Style(sentence)
"""How sentences do."""
