"""A stranger's words on the page are text, whatever they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up_runs import RECIPE, made_up_run
from privaudit.doubts.doubt import Doubt
from privaudit.page import page
from privaudit.report.escape import plain
from privaudit.store.failure import Failure
from read_pages import ReadPage

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": '" onload="alert(1)" x=\'',
    "svg": "</text></svg><img src=x onerror=alert(1)>",
    "style": "</style><style>*{display:none}",
    "template": "{{ 6 * 7 }}{% raw %}{# c #}",
    "comment": "<!-- --><![CDATA[",
    "entity": "&lt;b&gt;&amp;#x3c;",
    "bidirectional": "a\u202egpj.exe\u2066b",
    "control": "a\x00b\x1b[31mc\x07\u2028d\ud800",
    "formula": "=HYPERLINK(1)",
}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "nav",
    "ul", "li", "b", "main", "section", "div", "table", "caption", "thead", "tbody", "tr", "th",
    "td", "figure", "figcaption", "details", "summary", "pre", "footer", "span", "code",
    "svg", "desc", "defs", "clippath", "pattern", "path", "rect", "g", "text",
}  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_words_stay_text(words: str, tmp_path: Path) -> None:
    clean = words.replace("\ud800", "")  # no file can hold it; labels in memory can
    plugin = {"kind": "attack", "name": words, "distribution": words, "version": words}
    run = made_up_run(
        tmp_path / "run",
        clean,
        subjects=[("dense", ""), (clean, clean)],
        attacks=["loss", clean],
        classes=["cat", clean.replace("\x00", "")],
        notes={clean: 1.0},
        recipe=RECIPE | {"name": clean, "attacks": [{"name": clean, "label": clean}]},
        environment={"device": clean, "plugins": [plugin | {"name": clean}]},
        doubts=[Doubt("labels", clean, clean, clean)],
        failures=[Failure(clean, clean, clean, clean, 0, 0)],
    )
    text = page([run], records=True)
    read = ReadPage(text)
    assert set(read.tags) <= TAGS
    assert read.problems == []
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    assert all(char.isprintable() or char == "\n" for char in text)
    shown = " ".join(plain(clean).split())
    table = next(table for table in read.tables if table.caption.startswith(plain(clean)))
    assert [" ".join(row[0].split()) for row in table.rows] == ["dense", f"{shown} / {shown}"]
    assert any(level == 1 and shown in " ".join(head.split()) for level, head in read.headings)


def test_words_that_no_file_can_hold_are_shown_too(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    doubt = Doubt("labels", "target \ud800", "sentence \ud800")
    page([run.__class__(**(vars(run) | {"doubts": (doubt,)}))]).encode()


def test_very_long_words_are_shortened(tmp_path: Path) -> None:
    long = "x" * 10_000
    run = made_up_run(
        tmp_path / "run",
        long,
        subjects=[("dense", ""), (long, long)],
        attacks=["loss", long],
        classes=["cat", long],
        notes={long: 1.0},
        doubts=[Doubt("labels", long, long)],
        failures=[Failure(long, long, attack=long)],
    )
    text = page([run], records=True)
    assert len(text) < 200_000
    assert "x" * 1501 not in text
    assert all(
        len(cell) < 200 for table in ReadPage(text).tables for row in table.rows for cell in row
    )


def test_two_long_names_that_end_alike_stay_two_rows(tmp_path: Path) -> None:
    middle = "x" * 200
    subjects = [(f"a{middle}z", ""), (f"a{middle}y{middle}z", "")]
    read = ReadPage(page([made_up_run(tmp_path / "run", subjects=subjects)]))
    assert len(read.table("lira: what it tells").rows) == 2
