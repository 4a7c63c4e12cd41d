"""The pages about hooks taken apart: their sections, examples, and what breaks with which line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Fence:
    """A block of code or of output.

    Attributes:
        language: after the opening backticks.
        title: the file that it is; empty where it is none.
        text: its lines.
    """

    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Breaking:
    """A change of an example that breaks it.

    Attributes:
        page: the name of the page.
        section: its heading.
        file: the example's name.
        diff: the change.
        lines: what is printed then, each as "check: ..." or "run: ...".
    """

    page: str
    section: str
    file: str
    diff: str
    lines: tuple[str, ...]

    def applied(self, source: str) -> str:
        """The example with the change.

        Raises:
            ValueError: what the change takes away is not there, or is there twice.
        """
        for hunk in self.diff.split("@@\n"):
            lines = hunk.splitlines()
            before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
            after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
            if f"\n{source}".count(f"\n{before}") != 1:
                raise ValueError(f"{self.page}, {self.section}: not once in {self.file}:\n{before}")
            source = f"\n{source}".replace(f"\n{before}", f"\n{after}")[1:]
        return source


@dataclass(frozen=True)
class Section:
    """What stands under a heading of the second level.

    Attributes:
        heading: without backticks.
        text: below it.
    """

    heading: str
    text: str

    @cached_property
    def fences(self) -> tuple[Fence, ...]:
        """Its blocks, in order."""
        return tuple(fences(self.text))

    @property
    def labels(self) -> set[str]:
        """The first words, in bold, of its list's points."""
        return set(re.findall(r"^- \*\*([A-Z][a-z ]+)\*\*", self.text, flags=re.MULTILINE))

    @property
    def files(self) -> tuple[str, ...]:
        """The examples that it shows, or else speaks of, by name."""
        shown = [fence.title for fence in self.fences if fence.title.endswith(".py")]
        named = re.findall(r"`(\w+\.py)`", _FENCE.sub("", self.text))
        return tuple(dict.fromkeys([*shown, *named]))


@dataclass(frozen=True)
class HookPage:
    """A page about the hooks of one kind of plugin.

    Attributes:
        path: its file.
    """

    path: Path

    @property
    def kind(self) -> str:
        """Of plugin, or what else it is about."""
        return self.path.stem

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    @cached_property
    def sections(self) -> dict[str, Section]:
        """By heading."""
        parts = re.split(r"^## (.+)$", self.text, flags=re.MULTILINE)[1:]
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return {heading.strip("`"): Section(heading, text) for heading, text in pairs}

    @cached_property
    def examples(self) -> dict[str, str]:
        """The sources of whole plugin files by name."""
        shown = fences(self.text)
        return {f.title: f.text for f in shown if f.language == "python" and f.title}

    def breaking(self) -> Iterator[Breaking]:
        """Every change that breaks an example of the page."""
        for heading, section in self.sections.items():
            for change, output in zip(section.fences, section.fences[1:], strict=False):
                if change.language == "diff":
                    lines = tuple(_messages(output.text)) if output.language == "text" else ()
                    yield Breaking(self.path.name, heading, section.files[0], change.text, lines)


def fences(text: str) -> Iterator[Fence]:
    """Every block of a page."""
    for language, rest, content in _FENCE.findall(text):
        title = _TITLE.search(rest)
        yield Fence(language, title[1] if title else "", content)


def _messages(text: str) -> Iterator[str]:
    """Messages that are wrapped, their later lines indented."""
    yield from (" ".join(part.split()) for part in re.split(r"\n(?=\S)", text.strip()))
