"""docs/report.md shows every view of the page, by pictures that are there and stay small."""

from __future__ import annotations

import re
from pathlib import Path

from docs.site.pictures import VIEWS

from privaudit.page.views import VIEWS as SECTIONS

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "report.md").read_text()
SHOWN = re.findall(r"!\[[^]]+\]\((pictures/report-[^)]+\.png)\)", TEXT)


def test_every_picture_is_there_once_and_is_small() -> None:
    assert sorted(SHOWN) == sorted(f"pictures/report-{name}.png" for name in VIEWS)
    sizes = {name: (DOCS / name).stat().st_size for name in SHOWN}
    assert {name: size for name, size in sizes.items() if size > 100_000} == {}
    assert sum(sizes.values()) <= 600_000
    assert {path.name for path in DOCS.glob("pictures/report-*")} == {Path(n).name for n in SHOWN}


def test_every_view_of_the_page_has_its_section() -> None:
    headings = re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    views = [view.title for view in SECTIONS if view.name != "records"]
    assert headings == ["The verdict", *(title for title in views if title != "The verdict")]
