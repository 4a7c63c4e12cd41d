"""The text of a page: what is made of its record, between two marks, and what people wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results.asked import command
from benchmarks.results.record import Record, Table
from privaudit.errors import StoreError
from privaudit.report.escape import markdown

BEGIN = "<!-- made by python -m benchmarks.results: what stands from here to the next mark -->"
END = "<!-- made up to here: the rest is written by hand -->"
NOT_RUN = "*No run of this recipe has been written up yet.*"
UNWRITTEN = "Not written yet."
HEADING = "## What this says of the paper"

_TEXT_OF = re.compile(r"<!-- written for table ([^>]*?) -->")


@dataclass(frozen=True)
class Page:
    """A page in its three parts.

    Attributes:
        finding: the main finding in a sentence, above all else; written by hand.
        made: between the marks.
        text: below them; written by hand.
    """

    finding: str
    made: str
    text: str

    @property
    def text_of(self) -> str:
        """The digest of the tables that the text says it was written for; empty: it says none."""
        found = _TEXT_OF.search(self.text)
        return found[1] if found else ""

    @property
    def written(self) -> bool:
        """Whether somebody wrote a text."""
        return UNWRITTEN not in self.text

    def whole(self, name: str) -> str:
        """The file."""
        return f"# {name}\n\n{self.finding}\n\n{BEGIN}\n\n{self.made}\n\n{END}\n\n{self.text}\n"


def new_page() -> Page:
    """One that nobody has written on."""
    return Page(UNWRITTEN, NOT_RUN, f"{HEADING}\n\n{UNWRITTEN}")


def parted(text: str, name: str) -> Page:
    """A page's file in its parts.

    Raises:
        StoreError: one of its marks is gone.
    """
    above, begin, rest = text.partition(f"\n{BEGIN}\n")
    made, end, below = rest.partition(f"\n{END}\n")
    if not (begin and end and above.startswith(f"# {name}\n")):
        lost = f"# {name}" if begin and end else BEGIN if not begin else END
        raise StoreError(f"{name}.md has lost its line {lost!r}: put it back")
    finding = " ".join(above.partition("\n")[2].split())
    return Page(finding, made.strip("\n"), below.strip("\n"))


def made(record: Record) -> str:
    """What a record comes to, and nothing else does."""
    parts = [
        markdown(record.question),
        f"```console\n{command(record.name, record.changes)}\n```",
        "\n".join(f"- {line}" for line in _facts(record)),
        "What the engine says: " + " ".join(map(markdown, record.sentences)),
        *map(table_text, record.tables),
        "\n".join(f"- {line}" for line in record.legend),
        *_pictures(record),
        f"<!-- this is table {record.table} -->",
    ]
    return "\n\n".join(parts)


def table_text(table: Table) -> str:
    """A table in Markdown."""
    rules = [":---" if place < table.names else "---:" for place in range(len(table.heads))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table.heads, rules, *table.rows))


def duration(seconds: float) -> str:
    """How long something took.

    >>> duration(41.2), duration(182.1), duration(7260)
    ('41 s', '3 min 2 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _facts(record: Record) -> Iterator[str]:
    took = "" if record.seconds is None else f", in {duration(record.seconds)}"
    yield f"Made by commit {record.commit} on {record.date}{took}."
    if record.changed:
        yield (
            f"The run recorded a checkout with changes ({markdown(record.changed)}); whoever wrote "
            "this page named the commit."
        )
    known = {name: markdown(str(value)) for name, value in record.machine.items()}
    for words, source in _MACHINE:
        told = [word.format(known[name]) for name, word in words.items() if name in known]
        if told:
            yield f"{', '.join(told)}: {source}."


_MACHINE = (
    (
        {"device": "Device {}", "processes": "{} processes", "torch": "torch {}",
         "python": "Python {}"},
        "as the run recorded",
    ),
    (
        {"processor": "{}", "cores": "{} cores", "memory": "{} of memory"},
        "the machine that this page was written on, which made the run",
    ),
)  # fmt: skip
"""What is told of the machine, and who knows it."""


def _pictures(record: Record) -> Iterator[str]:
    for drawing in record.drawings:
        yield f"![{markdown(drawing.title)}]({drawing.file})"
        yield markdown(drawing.told)
