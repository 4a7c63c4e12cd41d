"""Links lead somewhere, and every page can be reached from the README and on the site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from tests.pages._pages import ROOT, anchors, links, named, pages

README = ROOT / "README.md"


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """The links of a page that lead nowhere."""
    return [link for link in links(page) if not _leads(page, link, root)]


def _leads(page: Path, link: str, root: Path) -> bool:
    address = urlsplit(link)
    if address.scheme:
        return address.scheme == "https" and "." in address.netloc.strip(".")
    target = (page.parent / address.path).resolve() if address.path else page.resolve()
    if not target.is_relative_to(root.resolve()) or not target.exists():
        return False
    return not address.fragment or address.fragment in anchors(target)


def reached(start: Path) -> set[Path]:
    """The pages to which links lead from one, over any number of pages."""
    seen, waiting = set(), [start]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            waiting += [target for target in _neighbours(page) if target.suffix == ".md"]
    return seen


def _neighbours(page: Path) -> Iterator[Path]:
    for link in links(page):
        address = urlsplit(link)
        target = (page.parent / address.path).resolve()
        if not address.scheme and target.is_file():
            yield target


def _leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict | list):
        for inner in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(inner)


@pytest.mark.parametrize("page", pages(), ids=named)
def test_links_lead_to_files_and_headings_of_ours(page: Path) -> None:
    assert not broken(page)


def test_every_page_can_be_reached_from_the_readme() -> None:
    assert not [named(page) for page in {*pages()} - reached(README)]


def test_every_page_is_on_the_site() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    places = [*_leaves(site["nav"])]
    assert len(places) == len({*places})
    shown = {
        README if place == "index.md" else ROOT / place[6:]
        if place.startswith("found/") else ROOT / "docs" / place
        for place in places
    }  # fmt: skip
    results = {*(ROOT / "recipes" / "results").glob("*.md")}  # docs/site/repository.py adds them
    assert shown | results == {*pages()}


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text(
        "# Two *words*, 3\n\n# Grüße\n\n<a id='no'></a><a id=\"yes\"></a>\n"
    )
    page = tmp_path / "a.md"
    page.write_text(
        "[1](b.md) [2](b.md#two-words-3) [3](#top) ![4](c.svg) [5](https://a.org/x#y)\n\n# Top\n\n"
        "[6](b.md#grüße) [7](b.md#three) [8](http://a.org) [9](../out.md) <https://nowhere/>\n"
        '```text\n[10](d.md)\n```\n`[11](e.md)` [12](ftp://a.org) [13](b.md#yes "title")\n'
    )
    wrong = ["c.svg", "b.md#grüße", "b.md#three", "http://a.org", "../out.md", "ftp://a.org"]
    assert broken(page, tmp_path) == [*wrong, "https://nowhere/"]
