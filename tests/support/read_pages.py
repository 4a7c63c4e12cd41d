"""An HTML page taken apart, and what is wrong with how it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_EMPTY = {"meta", "br", "hr", "link", "img", "input"}


@dataclass
class ReadTable:
    """A table as it is shown."""

    caption: str = ""
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, head: str) -> dict[str, str]:
        """One column's cells by the name of their row."""
        index = self.heads.index(head)
        return {row[0]: row[index] for row in self.rows}


class ReadPage(HTMLParser):
    """What a page holds, and every tag that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: list[ReadTable] = []
        self.headings: list[tuple[int, str]] = []
        self.figures: list[list[str]] = []
        self.words: list[str] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self._sections: list[str] = []
        self._paragraphs: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self._open]

    @property
    def text(self) -> str:
        """All that can be read."""
        return " ".join(" ".join(self.words).split())

    def said(self, section: str) -> list[str]:
        """The paragraphs of a section, in order."""
        return [" ".join(text.split()) for where, text in self._paragraphs if where == section]

    def table(self, caption: str) -> ReadTable:
        """The one whose caption begins so."""
        (table,) = [table for table in self.tables if table.caption.startswith(caption)]
        return table

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in _EMPTY:
            return
        self._open.append(tag)
        if tag == "section":
            self._sections.append(dict(attrs).get("id") or "")
        if tag == "p":
            self._paragraphs.append((self._sections[-1] if self._sections else "", ""))
        if "figure" in self._open:
            if tag == "figure":
                self.figures.append([])
            self.figures[-1].append(tag)
        if tag == "table":
            self.tables.append(ReadTable())
        if tag == "tr" and "tbody" in self._open:
            self.tables[-1].rows.append([])
        if tag in ("th", "td"):
            self._cells().append("")
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _EMPTY:
            return
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self._open or ("title" in self._open and "svg" not in self._open):
            return
        self.words.append(data)
        if "p" in self._open:
            where, text = self._paragraphs[-1]
            self._paragraphs[-1] = where, text + data
        if "caption" in self._open:
            self.tables[-1].caption += data
        elif {"th", "td"} & set(self._open):
            self._cells()[-1] += data
        if self._open and self._open[-1] in ("h1", "h2", "h3", "h4"):
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data

    def _cells(self) -> list[str]:
        table = self.tables[-1]
        return table.heads if "thead" in self._open else table.rows[-1]
