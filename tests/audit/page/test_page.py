from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from made_up_runs import made_up_run
from privaudit.errors import RecipeError
from privaudit.gate import parse_gate
from privaudit.page import page
from privaudit.report import render
from privaudit.report.gates import judge_runs
from read_pages import ReadPage


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page([made_up_run(tmp_path_factory.mktemp("runs") / "one")])


def test_the_numbers_are_those_of_json(tmp_path: Path) -> None:
    runs = [made_up_run(tmp_path / "one", "one"), made_up_run(tmp_path / "two", "two", seeds=3)]
    read = ReadPage(page(runs))
    costs = read.table("Size, cost and accuracy")
    compared = 0
    for row in json.loads(render(runs, format="json"))["rows"]:
        name = " / ".join(filter(None, [f"{row['run']}: {row['subject']}", row["level"]]))
        test = f"{100 * row['test_accuracy']['mean']:.1f} ± {100 * row['test_accuracy']['std']:.1f}"
        assert costs.column("test %")[name] == test
        assert costs.column("nonzero %")[name] == f"{100 * row['density']:.2f}"
        assert costs.column("nonzero parameters")[name] == f"{row['parameters']:,.0f}"
        for label, attack in row["attacks"].items():
            table = read.table(f"{label}: what it tells")
            shown = table.column("defense %")[name], table.column("AUC")[name]
            defense, auc = attack["defense"], attack["auc"]
            expected = (
                f"{100 * defense['mean']:.1f} "
                f"[{100 * defense['low']:.1f}, {100 * defense['high']:.1f}]",
                f"{auc['mean']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]",
            )
            assert (shown[0].removesuffix(" ▲").removesuffix(" ▼"), shown[1]) == expected
            assert attack["tpr@0.001"] is None
            assert table.column("TPR % @ 0.1 %")[name] == "n/r"
            compared += 1
    assert compared == 8


def test_it_is_well_formed_and_its_headings_are_in_order(text: str) -> None:
    read = ReadPage(text)
    assert read.problems == []
    levels = [level for level, _ in read.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    identities = Counter(value for _, name, value in read.attributes if name == "id")
    assert {identity for identity, count in identities.items() if count > 1} == set()
    linked = {value[1:] for tag, name, value in read.attributes if (tag, name) == ("a", "href")}
    assert linked
    assert linked <= identities.keys()


def test_it_has_no_script_and_asks_for_nothing(text: str) -> None:
    read = ReadPage(text)
    policies = [value for _, name, value in read.attributes if name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    assert {"script", "link", "img", "iframe", "object", "embed", "form"}.isdisjoint(read.tags)
    for tag, name, value in read.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "srcset", "action", "style", "ping"), (tag, name)
        if name in ("href", "xlink:href"):
            assert value.startswith("#"), value
        if name != "xmlns":
            assert "http" not in value, value
    assert re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", text) == []


def test_every_plot_is_said_in_words_and_in_numbers(text: str) -> None:
    read = ReadPage(text)
    assert len(read.figures) >= 3
    for tags in read.figures:
        assert {"svg", "title", "figcaption", "table"} <= set(tags)
    assert read.tags.count("svg") == len(read.figures)
    for row in (row for table in read.tables for row in table.rows):
        assert len(row) > 1


def test_a_table_has_as_many_cells_as_heads(text: str) -> None:
    for table in ReadPage(text).tables:
        assert {len(row) for row in table.rows} <= {len(table.heads)}, table.caption


def test_single_records_are_named_only_where_asked_for(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    named = re.compile(r"\b20[01]\d\d\b")  # its examples are rows 20,000 to 20,119
    without, with_records = ReadPage(page([run])), ReadPage(page([run], records=True))
    assert named.findall(without.text) == []
    assert "no single record" in without.text
    rows = [row[0] for row in with_records.table("Examples by exposure").rows]
    assert len(rows) == 10
    assert all(named.fullmatch(row) for row in rows)
    assert "names single records" in with_records.text


def test_several_runs_stand_on_one_page(tmp_path: Path) -> None:
    runs = [made_up_run(tmp_path / "one"), made_up_run(tmp_path / "two")]
    read = ReadPage(page(runs))
    names = {row[0] for row in read.table("lira: what it tells").rows}
    assert names == {
        f"made up folder={name}: {level}"
        for name in ("one", "two")
        for level in ("dense", "imp / round 1")
    }


def test_a_baseline_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'dense'"):
        page([made_up_run(tmp_path / "run")], baseline="dens")


def test_a_page_of_thirty_subjects_and_ten_attacks_is_at_most_a_megabyte(tmp_path: Path) -> None:
    run = made_up_run(
        tmp_path / "run",
        subjects=[(f"subject {n // 5}", f"round {n % 5}") for n in range(30)],
        attacks=[f"attack {n}" for n in range(10)],
        classes=[f"class {n}" for n in range(10)],
        seeds=1,
        examples=200,
    )
    text = page([run], gates=judge_runs([parse_gate("auc<0.7"), parse_gate("defense>0.9")], [run]))
    assert len(text.encode()) <= 1_000_000
    assert sum("what it tells about" in table.caption for table in ReadPage(text).tables) == 10
