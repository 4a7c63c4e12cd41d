"""Whether a page is still of today's arithmetic: yes, no, or that cannot be told, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.results.asked import recipe_changes, resolved
from benchmarks.results.counted import engine_digests, page_digests, plugin_digests
from benchmarks.results.markdown import Page, made
from benchmarks.results.pages import Pages
from benchmarks.results.record import Record, short_digest
from benchmarks.results.sources import Sources
from privaudit.errors import PrivauditError

Answer = Literal["today's", "older", "cannot be told", "missing"]

_FEW = 6


@dataclass(frozen=True)
class Verdict:
    """What a check says of a page.

    Attributes:
        name: of the recipe.
        answer: one of four, the last where there is no page to ask about.
        why: the same in words.
        remarks: what else is not as it should be.
    """

    name: str
    answer: Answer
    why: str
    remarks: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing is to be done."""
        return self.answer == "today's" and not self.remarks


def check(pages: Pages, name: str, sources: Sources) -> Verdict:
    """Look at one page.

    Args:
        pages: where it lies.
        name: of the recipe.
        sources: as they are now.
    """
    if not pages.record_path(name).exists():
        return Verdict(name, "missing", "missing: no run of it has been written up")
    try:
        record, page = pages.record(name), pages.page(name)
        remarks = tuple(_remarks(pages.folder, record, page))
        if record.arithmetic.foreign:
            others = ", ".join(record.arithmetic.foreign)
            return _untold(name, f"another distribution brings {others}", remarks)
        older = list(_older(record, sources))
    except PrivauditError as error:
        return _untold(name, str(error))
    except SyntaxError as error:
        return _untold(name, f"a module is no Python: {error.msg}, line {error.lineno}")
    since = f"commit {record.commit}, {record.date}"
    if older:
        return Verdict(name, "older", f"older ({since}) than {'; '.join(older)}", remarks)
    return Verdict(name, "today's", f"of today's arithmetic ({since})", remarks)


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The modules of which only one side knows, or whose digests differ."""
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _older(record: Record, sources: Sources) -> Iterator[str]:
    """What has changed since, by kind."""
    then = record.arithmetic
    if engine := changed(then.engine, engine_digests(sources)):
        yield f"engine ({_listed(engine)})"
    try:
        if plugins := changed(then.plugins, plugin_digests(sources, then.recipe)):
            yield f"plugins ({_listed(plugins)})"
        asked = resolved(sources, record.name, record.changes)
        if paths := recipe_changes(then.recipe, asked):
            yield f"recipe ({_listed(paths)})"
    except PrivauditError as error:
        yield f"recipe (today: {error})"
    if page := [one for one in changed(then.page, page_digests(sources)) if one not in engine]:
        yield f"report ({_listed(page)}), for which alone it is enough to write the page again"


def _listed(names: Sequence[str]) -> str:
    """All of a few names; of many, how many each room has."""
    if len(names) <= _FEW:
        return ", ".join(names)
    rooms = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{count} in {room}" for room, count in rooms.items())


def _remarks(folder: Path, record: Record, page: Page) -> Iterator[str]:
    if page.made != made(record):
        yield "its made part is not what its record gives: write it again"
    for drawing in record.drawings:
        path = folder / drawing.file
        if not path.is_file() or short_digest(path.read_bytes()) != drawing.digest:
            yield f"{drawing.file} is not the figure that was made: write it again"
    mark = f"<!-- written for table {record.table} -->"
    if not page.written:
        yield f"nobody has written about it yet; a text about it holds the line {mark}"
    elif page.text_of != record.table:
        yield f"the text speaks of another table; one about this one holds the line {mark}"


def _untold(name: str, reason: str, remarks: tuple[str, ...] = ()) -> Verdict:
    return Verdict(name, "cannot be told", f"cannot be told, because {reason}", remarks)
