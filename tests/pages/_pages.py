"""The Markdown pages that people read, and the fences, links and anchors in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=mark) *$",
    flags=re.DOTALL | re.MULTILINE,
)
_INFO = re.compile(r'(?P<language>\w+)(?: title="(?P<title>[^"]+)")?')
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_BARE = re.compile(r"https?://[^\s)>\]`\"']+")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A block of code in a page.

    Attributes:
        page: the page's path in the repository.
        line: where it begins.
        language: the first word behind its backticks; empty where there is none.
        title: the file that it is, where it says so.
        text: what is in it, without the indentation of the fence.
        info: all that stands behind the backticks.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    info: str

    @property
    def place(self) -> str:
        """Where an editor finds it."""
        return f"{self.page}:{self.line}"

    @property
    def opening(self) -> str:
        """Its first line, by which tables name it."""
        return self.text.partition("\n")[0].strip()


def pages(root: Path = ROOT) -> list[Path]:
    """Every page of the repository that is for people."""
    found = {*root.glob("*.md"), root / "tests/campaign/README.md"}
    for folder in ("docs", "recipes", "benchmarks"):
        found |= {*(root / folder).rglob("*.md")}
    return sorted(page for page in found if page.exists())


def named(page: Path, root: Path = ROOT) -> str:
    """A page's path in the repository."""
    return page.relative_to(root).as_posix()


def fences(page: Path, root: Path = ROOT) -> list[Fence]:
    """The blocks of code of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        info = match["info"].strip()
        told = _INFO.fullmatch(info)
        found.append(
            Fence(
                named(page, root),
                text.count("\n", 0, match.start()) + 1,
                told["language"] if told else "",
                (told["title"] or "") if told else "",
                dedent(match["text"]) if match["indent"] else match["text"],
                info,
            )
        )
    return found


def prose(page: Path) -> str:
    """A page without its blocks of code, and without what stands between backticks."""
    return re.sub(r"(`+)[^`].*?\1", "", _FENCE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    """Where a page leads: targets of links and pictures, and addresses that stand alone."""
    text = prose(page)
    found = _LINK.findall(text)
    return [*found, *(bare for bare in _BARE.findall(text) if bare not in found)]


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: headings that GitHub and the site spell alike, and ids."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in _HEADING.findall(text)]
    alike = {_on_github(title) for title in headings} & {_on_the_site(title) for title in headings}
    return alike | set(re.findall(r'\bid="([^"]+)"', text))


def _on_github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _on_the_site(heading: str) -> str:
    """As Python-Markdown's toc does it, which leaves out what is not ASCII."""
    plain = re.sub(r"[^\w\s-]", "", heading.encode("ascii", "ignore").decode()).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)
