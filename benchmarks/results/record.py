"""What is kept of a page beside it: all that its text is made of, and all that a check needs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from privaudit.errors import StoreError

FORMAT = 1
MOST = 100_000
"""Bytes of a file that is kept in the repository."""


@dataclass(frozen=True)
class Table:
    """A table as Markdown has it, every cell escaped.

    Attributes:
        heads: headings.
        names: how many of the columns, from the left, hold words.
        rows: cells.
    """

    heads: tuple[str, ...]
    names: int
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Drawing:
    """A figure that lies beside the page.

    Attributes:
        file: its name.
        digest: of its content (16 hex digits).
        title: what it shows.
        told: the same in a sentence.
    """

    file: str
    digest: str
    title: str
    told: str


@dataclass(frozen=True)
class Arithmetic:
    """What the numbers were computed by: digests of what modules compute, by their names.

    Attributes:
        engine: modules of the engine, of the commit that made the run.
        page: those that made the tables of it, as they were where the page was written.
        plugins: modules of built-in plugins.
        foreign: plugins of other distributions, which cannot be looked up here.
        recipe: with every default.
        data: digest of each dataset.
    """

    engine: dict[str, str]
    page: dict[str, str]
    plugins: dict[str, str]
    foreign: tuple[str, ...]
    recipe: dict[str, Any]
    data: dict[str, str]


@dataclass(frozen=True)
class Record:
    """All that is known of a page.

    Attributes:
        format: of this file.
        name: of the recipe.
        question: that it asks.
        changes: how the run's recipe differs from it, as `--set` takes it.
        commit: that made the run.
        changed: what the run itself recorded, where its checkout had changes; else empty.
        date: of the run's end, YYYY-MM-DD, in UTC.
        seconds: that it took.
        machine: what the run recorded, and what was seen where the page was written.
        sentences: what the engine says of the run.
        tables: of the run.
        legend: what is said below them.
        drawings: the figures.
        numbers: the rows of `privaudit report --format json`.
        arithmetic: what they were computed by.
    """

    format: int
    name: str
    question: str
    changes: tuple[str, ...]
    commit: str
    changed: str
    date: str
    seconds: float | None
    machine: dict[str, str | int]
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    legend: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    numbers: list[dict[str, Any]]
    arithmetic: Arithmetic

    @property
    def table(self) -> str:
        """A short digest of the tables, which a text about them names."""
        return short_digest(json.dumps([asdict(table) for table in self.tables]).encode())[:8]

    def to_json(self) -> bytes:
        """As it is kept: a line for each part and each row.

        Raises:
            StoreError: it is too large for the repository.
        """
        parts = []
        for name, value in asdict(self).items():
            text = json.dumps(value, ensure_ascii=False)
            if name == "numbers":
                rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
                text = f"[\n{rows}\n]"
            parts.append(f"{json.dumps(name)}: {text}")
        data = ("{\n" + ",\n".join(parts) + "\n}\n").encode()
        return checked(data, f"{self.name}.json")


_READ = TypeAdapter(Record)


def read(path: Path) -> Record:
    """The record of a page.

    Raises:
        StoreError: it is not there, damaged, or of another format.
    """
    try:
        data = json.loads(path.read_text())
        form = data.get("format")
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{path.name} cannot be read: write the page again") from error
    if form != FORMAT:
        raise StoreError(f"{path.name} has format {form}, not {FORMAT}: write the page again")
    try:
        return _READ.validate_python(data)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise StoreError(f"{path.name} is damaged at {place}: write the page again") from error


def short_digest(data: bytes) -> str:
    """Hash (16 hex digits) of a file's content."""
    return sha256(data).hexdigest()[:16]


def checked(data: bytes, name: str) -> bytes:
    """The content of a file, if the repository takes it.

    Raises:
        StoreError: it is too large.
    """
    if len(data) > MOST:
        raise StoreError(
            f"{name} would have {len(data):,} bytes, and {MOST:,} are kept at most: show less of "
            "it in benchmarks/results/settings.py"
        )
    return data
