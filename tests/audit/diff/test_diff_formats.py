"""How a diff is written: for people at any width, and for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from diff_runs import run
from made_up_runs import made_up_run
from privaudit.diff import Diff, diff
from privaudit.diff.fail_if import judge, parse_fail_if
from privaudit.diff.formats import as_json, as_markdown
from privaudit.diff.page import as_html
from privaudit.diff.text import SAME_RUN, diff_lines
from privaudit.page import page as report_page
from privaudit.report.columns import ASCII, TERMINAL
from read_pages import ReadPage

ROWS = [("dense", ""), ("l1_unstructured + ppb", "density 0.5")]
EVIL = "<script>alert(1)</script>\x1b[31m\u202e|`x`\\input{y}"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Diff:
    folder = tmp_path_factory.mktemp("runs")
    attacks = ["loss", "logistic_regression"]
    a = run(folder / "a", rows=ROWS, attacks=[*attacks, "lira"])
    changes = {"training__epochs": 8, "dataset__path": "/data/" + "long/" * 40}
    b = run(folder / "b", rows=ROWS, attacks=attacks, ahead=1.5, accuracy=0.7, changes=changes)
    return diff(a, b)


def _text(found: Diff, width: int, **options: Any) -> str:
    return "\n".join(line.plain for line in diff_lines(found, TERMINAL, width, **options))


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_too_wide_and_no_name_is_broken(found: Diff, width: int) -> None:
    text = _text(found, width)
    assert max(map(cell_len, text.splitlines())) <= width
    for name in ("logistic_regression", "l1_unstructured", "density 0.5", "training.epochs"):
        assert name in text
    assert "training.epochs: 60 → 8" in text
    assert "logistic_regressio\n" not in text


def test_all_metrics_stand_side_by_side_where_there_is_room(found: Diff) -> None:
    heads = {
        w: sum("attack" in line.split() for line in _text(found, w).splitlines()) for w in (80, 200)
    }
    assert heads[200] < heads[80]


def test_the_cells_hold_the_difference_and_its_interval(found: Diff) -> None:
    tested = found.rows[0].cells["auc"].comparison
    accuracy = found.networks[0].cells["test_accuracy"].comparison
    assert tested is not None
    assert accuracy is not None
    star = " *" if tested.significant else ""
    cell = f"{tested.value:+.3f} [{tested.low:+.3f}, {tested.high:+.3f}]{star}"
    points = f"{-10:+.1f} [{100 * accuracy.low:+.1f}, {100 * accuracy.high:+.1f}]"
    for text in (_text(found, 200), as_markdown(found).replace(r"\*", "*"), as_html(found)):
        assert cell in text
        assert points in text
    assert ("* differs significantly" in _text(found, 200)) == any(
        cell.comparison.significant
        for row in (*found.networks, *found.rows)
        for cell in row.cells.values()
        if cell.comparison
    )


def test_what_is_missing_is_told_in_every_format(found: Diff) -> None:
    for text in (_text(found, 400), as_markdown(found), as_html(found)):
        assert "Cannot be told: tpr@0.001 for all rows, because not resolvable with 200" in text
        assert (
            "Only in A: lira on dense, l1_unstructured + ppb / density 0.5 (seeds 0, 1, 2)" in text
        )
        assert "Nothing differs in: data, versions, device, plugins." in text
        assert "for test accuracy the two count as independent" in text
    record = json.loads(as_json(found, {}))
    assert record["attacks"][0]["metrics"]["tpr@0.001"] == {
        "a": [None] * 3, "b": [None] * 3, "difference": None, "test": None,
        "reason": "not resolvable with 200 non-members: it takes 1000 or more",
    }  # fmt: skip
    assert [(lone["subject"], lone["attack"]) for lone in record["only_a"]] == [
        ("dense", "lira"), ("l1_unstructured + ppb", "lira"),
    ]  # fmt: skip


def test_json_holds_the_values_as_they_are(found: Diff) -> None:
    record = json.loads(as_json(found, {"more": 1}))
    assert (record["format"], record["more"], record["same_run"]) == (1, 1, False)
    epochs = next(change for change in record["differs"] if change["path"][-1] == "epochs")
    assert epochs == {"section": "recipe", "path": ["training", "epochs"], "a": 60, "b": 8}
    path = next(change for change in record["differs"] if change["path"][-1] == "path")
    assert "a" not in path  # a leaf that is not there is not null
    first = record["attacks"][0]
    cell = found.rows[0].cells["auc"]
    assert cell.comparison is not None
    assert (first["subject"], first["attack"], first["by_example"]) == ("dense", "loss", True)
    assert first["networks"] == [{"seed": seed, "target": 0} for seed in range(3)]
    assert first["metrics"]["auc"]["a"] == list(cell.a)
    assert first["metrics"]["auc"]["test"]["p_holm"] == cell.comparison.adjusted


def test_one_run_twice_is_said_in_a_sentence(tmp_path: Path) -> None:
    one = run(tmp_path / "a", seeds=[0])
    found = diff(one, one)
    for text in (_text(found, 80), as_markdown(found), as_html(found)):
        assert SAME_RUN in text
        assert "Cannot be told" not in text
    assert json.loads(as_json(found, {}))["same_run"] is True


def test_equal_numbers_are_said_to_be_equal(tmp_path: Path) -> None:
    text = _text(diff(run(tmp_path / "a"), run(tmp_path / "b")), 200)
    assert "All numbers that are compared are the same in both runs." in text
    assert "Nothing differs in: recipe, data, versions, device, plugins." in text
    assert "significant" not in text


def test_runs_with_nothing_in_common_say_so() -> None:
    found = diff(run(None, rows=[("a", "")]), run(None, rows=[("b", "")]))
    for text in (_text(found, 400), as_markdown(found), as_html(found)):
        assert "The runs have no audit in common: nothing is compared." in text
        assert "Only in B: loss, shadow_mlp on b (seeds 0, 1, 2)" in text


def test_a_terminal_that_knows_ascii_alone_gets_it(found: Diff) -> None:
    text = "\n".join(line.plain for line in diff_lines(found, ASCII, 80))
    assert text.isascii()
    assert "training.epochs: 60 -> 8" in text


def test_hostile_words_stay_harmless() -> None:
    rows = [(EVIL, EVIL)]
    a = run(None, rows=rows, attacks=[EVIL], seeds=[0])
    b = run(
        None, rows=rows, attacks=[EVIL], seeds=[0], ahead=0.9, changes={"dataset__path": EVIL},
        environment={"device": EVIL},
    )  # fmt: skip
    found = diff(a, b)
    texts = {
        "text": _text(found, 80, notes=[EVIL]),
        "markdown": as_markdown(found, [EVIL]),
        "html": as_html(found, [EVIL]),
        "json": as_json(found, {}),
    }
    for text in texts.values():
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script" not in texts["html"]
    assert "<script" not in texts["markdown"]
    assert max(map(cell_len, texts["text"].splitlines())) <= 80


def test_the_page_is_whole_and_loads_nothing(found: Diff) -> None:
    text = as_html(found, ["a doubt"])
    read = ReadPage(text)
    assert read.problems == []
    policies = [value for _, name, value in read.attributes if name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    assert not {*read.tags} & {"script", "link", "img", "iframe", "svg"}
    for _, name, value in read.attributes:
        assert not name.startswith("on")
        assert name != "src"
        assert name != "href" or value.startswith("#")
    assert "prefers-color-scheme: dark" in text
    assert "url(" not in text
    assert "a doubt" in read.said("verdict")
    assert len(read.tables) == 3


def test_the_page_is_of_the_same_template_as_a_report(found: Diff, tmp_path: Path) -> None:
    def style(text: str) -> str:
        return text.partition("<style>\n:root")[2].partition("</style>")[0]

    assert style(as_html(found))
    assert style(as_html(found)) == style(report_page([made_up_run(tmp_path / "run")]))


def test_the_page_says_first_whether_the_runs_differ_and_what_the_conditions_came_to(
    found: Diff,
) -> None:
    conditions = [judge(parse_fail_if(text), found) for text in ("auc>+0.01", "auc>+0.9")]
    said = ReadPage(as_html(found, conditions=conditions)).said("verdict")
    assert said[0].startswith("B differs significantly (")
    assert "They differ in: recipe." in said
    assert any(line.startswith("fail-if auc>+0.01: HOLDS for") for line in said)
    assert any(line.startswith("fail-if auc>+0.9: holds for none") for line in said)
