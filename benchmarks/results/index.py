"""The index of all pages: one table in recipes/README.md, between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results.asked import question
from benchmarks.results.markdown import UNWRITTEN
from benchmarks.results.record import Record
from benchmarks.results.sources import Sources, here
from privaudit.errors import StoreError
from privaudit.report.escape import markdown

BEGIN = "<!-- made by python -m benchmarks.results: the table of all pages -->"
END = "<!-- made up to here -->"
_HEADS = ("recipe", "question", "main finding", "commit", "date")


@dataclass(frozen=True)
class Line:
    """What the index says of a recipe.

    Attributes:
        name: of the recipe.
        finding: the main finding, in its page's words.
        page: whether there is one.
        record: of its page; None: no run has been written up.
    """

    name: str
    finding: str
    page: bool
    record: Record | None


def index_text(text: str, lines: Sequence[Line]) -> str:
    """The index with a new table.

    Args:
        text: of the old one.
        lines: of the table.

    Raises:
        StoreError: a mark is gone.
    """
    above, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, below = rest.partition(f"{END}\n")
    if not (begin and end):
        raise StoreError(f"recipes/README.md has lost {END if begin else BEGIN!r}: put it back")
    return f"{above}{begin}\n{_table(lines)}\n\n{end}{below}"


def _table(lines: Sequence[Line]) -> str:
    sources = here()
    rows = [_HEADS, ("---",) * len(_HEADS), *(_cells(line, sources) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(line: Line, sources: Sources) -> tuple[str, ...]:
    name = f"`{line.name}`"
    name = f"[{name}](results/{line.name}.md)" if line.page else name
    asked = markdown(question(sources, line.name))
    finding = "–" if line.finding == UNWRITTEN else line.finding.replace("|", "\\|")
    if line.record is None:
        return name, asked, finding, "no run yet", "–"
    return name, asked, finding, line.record.commit, line.record.date
