"""Where pages lie: for each recipe NAME.md, its record NAME.json and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.results.index import Line, index_text
from benchmarks.results.markdown import Page, made, new_page, parted
from benchmarks.results.record import Record, checked, read
from benchmarks.results.settings import PAGES
from benchmarks.results.sources import ROOT
from privaudit.errors import StoreError
from privaudit.store.files import write_many

_MODE = 0o644


@dataclass(frozen=True)
class Pages:
    """The folder of all pages, and the index above it.

    Attributes:
        recipes: the folder that holds README.md and results/.
    """

    recipes: Path = ROOT / "recipes"

    @property
    def folder(self) -> Path:
        """Where the pages lie."""
        return self.recipes / "results"

    @property
    def index_path(self) -> Path:
        """The index."""
        return self.recipes / "README.md"

    def page_path(self, name: str) -> Path:
        """The page of a recipe."""
        return self.folder / f"{name}.md"

    def record_path(self, name: str) -> Path:
        """Its record."""
        return self.folder / f"{name}.json"

    def names(self) -> list[str]:
        """The recipes that have a page or should have one, in the order of the index."""
        there = {path.stem for path in self.folder.glob("*.md")}
        return [*PAGES, *sorted(there - PAGES.keys())]

    def record(self, name: str) -> Record:
        """The record of a page.

        Raises:
            StoreError: it is not there, or damaged.
        """
        return read(self.record_path(name))

    def page(self, name: str) -> Page:
        """A page in its parts; where there is none, one that nobody has written on.

        Raises:
            StoreError: one of its marks is gone.
        """
        path = self.page_path(name)
        return parted(path.read_text(), name) if path.exists() else new_page()

    def write(self, record: Record, figures: Mapping[str, bytes]) -> None:
        """Put a page in place, with its figures; what was written by hand stays as it is.

        Raises:
            StoreError: a mark of the old page is gone, or a file cannot be written.
        """
        name = record.name
        page = replace(self.page(name), made=made(record))
        text = checked(page.whole(name).encode(), f"{name}.md")
        files = {
            self.record_path(name): record.to_json(),
            self.page_path(name): text,
            **{self.folder / file: content for file, content in figures.items()},
        }
        old = [path for path in self.folder.glob(f"{name}-*.svg") if path not in files]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_many(files.items(), mode=_MODE)
        for path in old:
            path.unlink()

    def index(self) -> str:
        """What the index has to be.

        Raises:
            StoreError: a page is damaged, or the index has lost its marks.
        """
        lines = []
        for name in self.names():
            record = self.record(name) if self.record_path(name).exists() else None
            there = self.page_path(name).exists()
            lines.append(Line(name, self.page(name).finding, there, record))
        try:
            text = self.index_path.read_text()
        except OSError as error:
            raise StoreError(f"{self.index_path.name} cannot be read: restore it") from error
        return index_text(text, lines)

    def write_index(self) -> None:
        """Put the index in place.

        Raises:
            StoreError: as `index`, or it cannot be written.
        """
        write_many([(self.index_path, self.index().encode())], mode=_MODE)
