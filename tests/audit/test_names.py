"""Examples keep the names by which people find them again, and nothing else hears of them."""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from privaudit import DataError, Examples, RunResult, SplitOptions, StoreError, load_recipe, run
from privaudit.api.watch import copied_examples
from privaudit.experiment.audited_rows import _names
from privaudit.experiment.canaries import canary_rows, inserted
from privaudit.experiment.identity import examples_digest
from privaudit.experiment.target import joined
from privaudit.explain import explain
from privaudit.explain.text import print_explanation
from privaudit.page.exposure import _example
from privaudit.store.record import npz
from privaudit.store.result import load_run
from privaudit.store.scores import RunArrays, packed_names

ROWS = 60


def examples(count: int = 6, names: tuple[str, ...] | None = None) -> Examples:
    x = torch.arange(2.0 * count).view(count, 2)
    zero = torch.tensor(0.0)
    return Examples(x, torch.arange(count) % 2, ("a", "b"), zero, zero + 1, names=names)


def named(count: int = 6, of: str = "f") -> Examples:
    return examples(count, tuple(f"{of}{row}" for row in range(count)))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run on a table whose file holds its rows from line 3 on."""
    folder = tmp_path_factory.mktemp("names")
    rows = (f"{n % 7},{n % 5},{'xy'[n % 2]}" for n in range(ROWS))
    (folder / "people.csv").write_text("a,b,label\n\n" + "\n".join(rows) + "\n")
    (folder / "recipe.yaml").write_text(
        "{name: names, dataset: {name: table, path: people.csv}, split: {validation: 0},"
        " model: {name: mlp, hidden: [4]}, training: {epochs: 2}, shadows: 0,"
        " sparsifiers: [dense], attacks: [loss]}"
    )
    return run(load_recipe(folder / "recipe.yaml"), folder / "run", cache=folder / "cache")


def test_the_most_exposed_rows_are_named_by_their_file_and_line(result: RunResult) -> None:
    (exposure,) = explain([result]).exposures
    assert exposure.examples
    for row in exposure.examples:
        assert row.where == f"people.csv, line {row.example + 3}"
        assert f"({row.where})" in _example(row)[0]


@pytest.mark.parametrize("width", [80, 200])
def test_they_stand_in_the_printed_table(result: RunResult, width: int) -> None:
    explanation = explain([result])
    out = io.StringIO()
    print_explanation(explanation, Console(file=out, width=width, force_terminal=False))
    text = out.getvalue()
    assert all(row.where in text for row in explanation.exposures[0].examples)
    assert max(map(len, text.splitlines())) <= width


def test_a_run_without_names_is_read_as_before(result: RunResult, tmp_path: Path) -> None:
    assert result.folder is not None
    arrays = dict(np.load(result.folder / "scores.npz"))
    del arrays["names"]
    (tmp_path / "scores.npz").write_bytes(npz(arrays))
    old = replace(result, folder=tmp_path)
    with_names = [asdict(row) for row in explain([result]).exposures[0].examples]
    without = [asdict(row) for row in explain([old]).exposures[0].examples]
    assert without == [row | {"where": ""} for row in with_names]
    out = io.StringIO()
    print_explanation(explain([old]), Console(file=out, width=80))
    assert "example  class" in out.getvalue()


def test_damaged_names_are_a_line(tmp_path: Path) -> None:
    (tmp_path / "scores.npz").write_bytes(npz({"names": np.array([255, 254], np.uint8)}))
    with pytest.raises(StoreError, match=r"scores\.npz is damaged: names"):
        RunArrays(tmp_path).example_names()
    (tmp_path / "scores.npz").write_bytes(npz({"names": packed_names(["ä.png", "", "b, line 2"])}))
    assert RunArrays(tmp_path).example_names() == ("ä.png", "", "b, line 2")


def test_names_make_no_other_data() -> None:
    assert examples_digest(named()) == examples_digest(examples())


def test_names_are_as_many_as_examples_and_go_with_them() -> None:
    with pytest.raises(DataError, match="5 names of 6 examples"):
        examples(6, ("a",) * 5)
    assert named().take(torch.tensor([4, 0])).names == ("f4", "f0")
    assert examples().take(torch.tensor([4, 0])).names is None


def test_names_that_would_break_a_line_are_spelled_out() -> None:
    broken = examples(2, ("a\nb", "\x1b[31m"))
    assert copied_examples(broken).names == ("a\\nb", "\\x1b[31m")


@pytest.mark.parametrize("kind", ["mislabelled", "blank"])
def test_a_canary_is_not_the_example_in_whose_place_it_is(kind: str) -> None:
    options = SplitOptions.model_validate({"canaries": {"count": 10, "kind": kind}})
    names = inserted(named(30), options).names
    assert names is not None
    rows = canary_rows(options, 30).tolist()
    for row, name in enumerate(names):
        assert name == (f"canary in the place of f{row}" if row in rows else f"f{row}")
    assert inserted(examples(30), options).names is None


def test_those_of_a_target_stay_with_their_examples() -> None:
    members, pool = named(4, "in"), named(3, "pool")
    others = replace(named(5, "out"), x=named(5).x + 100)
    every = joined({"members": members, "non_members": others}, pool)
    assert every.examples.names is not None
    whole = [name for part in (members, others, pool) for name in part.names or ()]
    assert list(every.examples.names) == [whole[row] for row in every.order.tolist()]
    x = torch.cat([members.x, others.x, pool.x])
    assert torch.equal(every.examples.x, x[every.order])
    without = joined({"members": examples(4), "non_members": others}, pool).examples.names
    assert without is not None
    assert sum(name == "" for name in without) == 4


def test_a_run_keeps_them_by_the_numbers_of_its_examples() -> None:
    order = torch.tensor([2, 0, 1])  # the row at place 0 is example number 2
    context: Any = SimpleNamespace(examples=named(3), numbers=lambda rows: order[rows])
    assert bytes(_names(context)["names"]).decode() == "f1\nf2\nf0"
    context.examples = examples(3, ("", "", ""))
    assert _names(context) == {}


def test_a_run_that_is_loaded_knows_them(result: RunResult) -> None:
    assert result.folder is not None
    assert RunArrays(load_run(result.folder).folder).example_names()[0] == "people.csv, line 3"
