"""Lets the site show Markdown files that lie elsewhere in the repository, under their own paths.

Links in a page are those that lead on in the repository; here they are turned to the site's pages.
A picture beside such a file comes along.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
INDEX = "README.md"
ELSEWHERE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "benchmarks/gpu/README.md",
    "recipes/README.md",
    "tests/campaign/README.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("recipes/results/*.md"))),
)
_CODE = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
RESULTS = "found/recipes/README.md"
"""The page below which those of single recipes stand."""

_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Put every page of results below their index."""
    pages = [path for path in ELSEWHERE if path.startswith("recipes/results/")]
    below: list[Any] = [{Path(path).stem: f"found/{path}"} for path in pages]
    for entry in config["nav"]:
        for title, place in entry.items():
            if place == RESULTS:
                entry[title] = [RESULTS, *below]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the files, and the pictures that they show."""
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / INDEX)))
    for path in ELSEWHERE:
        files.append(File.generated(config, f"found/{path}", abs_src_path=str(ROOT / path)))
        for picture in _pictures(ROOT / path):
            place = picture.relative_to(ROOT).as_posix()
            files.append(File.generated(config, f"found/{place}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    here = page.file.src_uri
    source = _source(here)

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        place = posixpath.relpath(_place(target), posixpath.dirname(here) or ".")
        return f"]({place}{match[2] or ''})"

    return _CODE.sub(_unescaped, _LINK.sub(turned, markdown))


def _unescaped(code: re.Match[str]) -> str:
    """Code in a table: GitHub wants its bars escaped, and the site would show how."""
    return code[0].replace(r"\|", "|")


def _source(place: str) -> str:
    """Where a page of the site lies in the repository."""
    if place == "index.md":
        return INDEX
    return place.removeprefix("found/") if place.startswith("found/") else f"docs/{place}"


def _place(source: str) -> str:
    """Where a file of the repository lies on the site."""
    if source == INDEX:
        return "index.md"
    return source.removeprefix("docs/") if source.startswith("docs/") else f"found/{source}"


def _pictures(page: Path) -> Iterator[Path]:
    for target in re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            yield page.parent / target
