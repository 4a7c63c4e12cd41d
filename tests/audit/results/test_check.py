"""A check says yes, no, or that it cannot be told, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.results.check import Verdict, check
from benchmarks.results.markdown import UNWRITTEN
from benchmarks.results.pages import Pages
from benchmarks.results.record import Record
from benchmarks.results.sources import Sources

Made = tuple[Record, dict[str, bytes]]


@pytest.fixture
def there(made_page: Made, pages: Pages) -> Pages:
    """A page with a text about its table."""
    pages.write(*made_page)
    path = pages.page_path("digits")
    above, _, text = path.read_text().rpartition(UNWRITTEN)
    path.write_text(f"{above}<!-- written for table {made_page[0].table} -->\n\nSo it is.{text}")
    return pages


def after(pages: Pages, sources: Sources, path: str, old: str, new: str) -> Verdict:
    """The verdict once a source has changed."""
    assert sources[path].count(old) >= 1
    return check(pages, "digits", {**sources, path: sources[path].replace(old, new)})


def test_a_page_of_today_is_of_today(there: Pages, sources: Sources) -> None:
    verdict = check(there, "digits", sources)
    assert verdict.answer == "today's"
    assert verdict.why.startswith("of today's arithmetic (commit 0123456789ab, ")
    assert verdict.good


def test_a_comment_or_a_docstring_makes_no_page_old(there: Pages, sources: Sources) -> None:
    path = "audit/privaudit/statistics/metrics.py"
    for old, new in (
        ('"""How well an attack', '"""Whether an attack'),
        ("\nimport", "\n# x\nimport"),
    ):
        assert after(there, sources, path, old, new).good


@pytest.mark.parametrize(
    ("path", "old", "new", "told"),
    [
        ("audit/privaudit/report/rows.py", "LEVEL = 0.05", "LEVEL = 0.1", "report (report.rows)"),
        ("audit/privaudit/statistics/curve.py", "1", "2", "engine (statistics.curve)"),
        ("plugins/privaudit_plugins/attacks/_phi.py", "log", "exp", "plugins (attacks._phi)"),
        ("recipes/digits.yaml", "lr: 0.05", "lr: 0.06", "recipe (training.lr)"),
        ("recipes/digits.yaml", "loss]", "loss, lira]", "recipe ("),
        ("recipes/digits.yaml", "name: digits", "nome: digits", "recipe (today: "),
    ],
)
def test_what_changed_is_named(
    path: str, old: str, new: str, told: str, there: Pages, sources: Sources
) -> None:
    verdict = after(there, sources, path, old, new)
    assert verdict.answer == "older"
    assert told in verdict.why
    assert not verdict.good


def test_a_change_that_the_page_s_command_undoes_makes_it_no_older(
    there: Pages, sources: Sources
) -> None:
    assert after(there, sources, "recipes/digits.yaml", "epochs: 60", "epochs: 70").good


def test_plugins_that_the_recipe_does_not_use_may_change(there: Pages, sources: Sources) -> None:
    assert after(there, sources, "plugins/privaudit_plugins/attacks/lira.py", "1", "2").good


def test_a_module_more_or_less_is_a_change(there: Pages, sources: Sources) -> None:
    more = check(there, "digits", {**sources, "audit/privaudit/train/more.py": "X = 1"})
    assert "engine (train.more)" in more.why
    gone = {path: text for path, text in sources.items() if not path.endswith("train/loop.py")}
    assert "engine (train.loop)" in check(there, "digits", gone).why


def edited(pages: Pages, change: Callable[[dict[str, Any]], object]) -> None:
    path = pages.record_path("digits")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data["arithmetic"].update(foreign=["attack x"]), "brings attack x"),
        (lambda data: data.update(format=2), "format 2, not 1"),
        (lambda data: data.pop("tables"), "damaged at tables"),
    ],
)
def test_what_cannot_be_told_is_said_with_its_reason(
    change: Callable[[dict[str, Any]], object], why: str, there: Pages, sources: Sources
) -> None:
    edited(there, change)
    verdict = check(there, "digits", sources)
    assert verdict.answer == "cannot be told"
    assert verdict.why.startswith("cannot be told, because ")
    assert why in verdict.why


def test_sources_that_are_no_python_cannot_be_told(there: Pages, sources: Sources) -> None:
    path = "audit/privaudit/train/loop.py"
    verdict = check(there, "digits", {**sources, path: "def ("})
    assert verdict.answer == "cannot be told"


def test_a_number_edited_by_hand_is_seen(there: Pages, sources: Sources) -> None:
    path = there.page_path("digits")
    path.write_text(path.read_text().replace("| 100.00 |", "| 99.99 |"))
    assert "made part is not" in check(there, "digits", sources).remarks[0]


def test_a_figure_that_is_another_is_seen(there: Pages, sources: Sources) -> None:
    (there.folder / "digits-tradeoff.svg").write_text("<svg/>")
    assert "not the figure" in check(there, "digits", sources).remarks[0]


def test_a_text_about_another_table_is_seen(there: Pages, sources: Sources) -> None:
    path = there.page_path("digits")
    path.write_text(path.read_text().replace("written for table ", "written for table 0"))
    (remark,) = check(there, "digits", sources).remarks
    assert "speaks of another table" in remark
    assert f"written for table {there.record('digits').table} -->" in remark


def test_a_page_that_nobody_wrote_about_is_seen(
    made_page: Made, pages: Pages, sources: Sources
) -> None:
    pages.write(*made_page)
    assert "nobody has written about it" in check(pages, "digits", sources).remarks[0]


def test_a_recipe_without_a_run_is_missing(pages: Pages, sources: Sources) -> None:
    assert check(pages, "location30", sources).answer == "missing"
