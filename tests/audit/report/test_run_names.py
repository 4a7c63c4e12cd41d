"""What runs of one name are called side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diff_runs import PLUGIN, run
from privaudit.errors import StoreError
from privaudit.report import render
from privaudit.report.names import run_names
from privaudit.store.result import RunResult


def _runs(*changes: dict[str, Any]) -> list[RunResult]:
    return [run(None, changes=each, seeds=[0]) for each in changes]


def test_runs_of_one_name_are_told_apart_by_the_leaf_that_differs() -> None:
    names = run_names(_runs({}, {"training__epochs": 8}))
    assert names == ["digits epochs=60", "digits epochs=8"]


def test_a_run_alone_and_runs_of_other_names_keep_theirs() -> None:
    one, two = _runs({}, {"training__epochs": 8})
    assert run_names([one]) == ["digits"]
    assert run_names([one, replace(two, name="cifar")]) == ["digits", "cifar"]
    assert run_names([]) == []


def test_a_key_is_as_short_as_it_can_be_without_meaning_another() -> None:
    # An attack has epochs, too: its own must say so, those of training need not.
    assert run_names(_runs({}, {"attacks__1__epochs": 9})) == [
        "digits shadow_mlp.epochs=80", "digits shadow_mlp.epochs=9",
    ]  # fmt: skip


def test_leaves_stand_in_the_order_of_the_recipe() -> None:
    changes = {"training__lr": 1.0, "seeds": [5], "training__epochs": 8}
    assert run_names(_runs({}, changes))[1] == "digits seeds=[5] epochs=8 lr=1.0"


def test_many_leaves_are_counted_and_those_that_set_apart_are_named() -> None:
    first = {"training__lr": 1.0, "seeds": [5], "training__epochs": 8, "split__members": 9}
    names = run_names(_runs({}, first, {**first, "attacks__1__epochs": 9}))
    assert len(set(names)) == 3
    assert all("shadow_mlp.epochs=" in name and name.endswith("and 2 more") for name in names)


def test_what_only_one_recipe_has_is_told() -> None:
    assert run_names(_runs({}, {"training__augment": True})) == [
        "digits augment=absent", "digits augment=true",
    ]  # fmt: skip
    attacks = [{"name": "loss"}]
    assert run_names(_runs({}, {"attacks": attacks})) == [
        "digits attacks=[loss, shadow_mlp]", "digits attacks=[loss]",
    ]  # fmt: skip
    target = {"members": {"name": "arrays"}, "weights": "w"}
    assert run_names(_runs({}, {"target": target})) == ["digits target=null", "digits target=given"]


def test_a_word_is_not_a_number() -> None:
    assert run_names(_runs({"training__lr": "1"}, {"training__lr": 1})) == [
        'digits lr="1"', "digits lr=1",
    ]  # fmt: skip


def test_long_values_are_cut_and_stay_apart() -> None:
    paths = [f"/data/of/a/large/hospital/{name}" for name in ("one", "two")]
    names = run_names(_runs(*({"dataset__path": path} for path in paths)))
    assert names == ["digits path=...one", "digits path=...two"]
    middles = [f"{'a' * 30}{letter}{'b' * 30}" for letter in "xy"]
    names = run_names(_runs(*({"dataset__path": path} for path in middles)))
    assert len(set(names)) == 2
    assert max(map(len, names)) < 40


def test_equal_recipes_are_told_apart_by_what_else_differs(tmp_path: Path) -> None:
    plain = run(tmp_path / "a", seeds=[0])
    for number, (fields, key) in enumerate(
        [
            ({"data": "e" * 64}, "dataset=eee"),
            ({"environment": {"torch": "2.7.0"}}, "torch=2.7.0"),
            ({"environment": {"device": "Tesla T4"}}, 'device="Tesla T4"'),
            ({"environment": {"plugins": [{**PLUGIN, "source": "0" * 64}]}}, "source=000"),
        ]
    ):
        other = run(tmp_path / f"b{number}", seeds=[0], **fields)  # type: ignore[arg-type]
        first, second = run_names([plain, other])
        assert first != second
        assert second.startswith(f"digits {key}")


def test_runs_that_nothing_tells_apart_have_their_folders(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, seeds=[0]) for name in ("a", "b")]
    assert run_names(runs) == ["digits folder=a", "digits folder=b"]
    deep = [run(tmp_path / name / "run", seeds=[0]) for name in ("a", "b")]
    assert run_names(deep) == ["digits folder=a/run", "digits folder=b/run"]


def test_a_number_is_the_last_resort() -> None:
    assert run_names(_runs({}, {})) == ["digits #1", "digits #2"]


def test_a_name_is_never_given_twice() -> None:
    taken = replace(_runs({})[0], name="digits epochs=8")
    names = run_names([*_runs({}, {"training__epochs": 8}), taken])
    assert len(set(names)) == 3


def test_three_runs_of_which_two_are_alike(tmp_path: Path) -> None:
    other = run(tmp_path / "c", seeds=[0], changes={"training__epochs": 8})
    runs = [other, *(run(tmp_path / name, seeds=[0]) for name in ("a", "b"))]
    assert run_names(runs) == [
        "digits epochs=8", "digits epochs=60 folder=a", "digits epochs=60 folder=b",
    ]  # fmt: skip


def test_hostile_values_stay_harmless_in_every_format() -> None:
    evil = "\x1b[31m\u202e\n=cmd|'/c calc'!A1 \\input{x} <script>"
    runs = _runs({"dataset__path": "a"}, {"dataset__path": evil, "training__\x1b[0m": 1})
    for format in ("table", "markdown", "csv", "json", "latex"):
        text = render(runs, format=format)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "<script>" not in text or format in ("table", "csv", "json")
        assert "\\input" not in text or format in ("table", "csv", "json", "markdown")
    assert len({row["run"] for row in json.loads(render(runs, format="json"))["rows"]}) == 2


def test_a_recipe_without_a_bottom_is_refused() -> None:
    bottomless: Any = 1
    for _ in range(600):
        bottomless = {"a": [bottomless]}
    with pytest.raises(StoreError, match="nested deeper than 24 levels"):
        run_names(_runs({}, {"dataset__path": bottomless}))


def test_a_damaged_environment_tells_nothing() -> None:
    one, two = _runs({}, {})
    odd = replace(two, environment={"plugins": {"a": 1}, "torch": ["x"], "device": {}})
    assert run_names([one, odd])[0].startswith("digits privaudit=0.1.0")
