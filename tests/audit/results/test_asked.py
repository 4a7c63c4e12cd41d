"""The command of a page makes the run's recipe of the one that ships."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from benchmarks.results.asked import changes_of, command, question, resolved
from benchmarks.results.sources import Sources

import privaudit
from privaudit.recipe import load_recipe


def asked(name: str, *changes: str) -> dict[str, Any]:
    """As a run's result.json holds it."""
    dumped = load_recipe(name, list(changes)).model_dump(mode="json", serialize_as_any=True)
    found: dict[str, Any] = json.loads(json.dumps(dumped))
    return found


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("digits", (), ()),
        ("digits", ("seeds=2", "split.seed=3"), ("seeds=2", "split.seed=3")),
        ("digits", ("seeds=[3,5]",), ("seeds=[3, 5]",)),
        ("digits", ("sparsifiers.1.rounds=3",), ("sparsifiers.1.rounds=3",)),
        ("digits", ("model=cnn",), None),
        ("digits", ("attacks=[loss]",), None),
        ("location30", ("training.stack=2",), ()),
        ("location30", ("dataset.path=/data/of/mine.csv",), ()),
    ],
)
def test_changes_are_found_and_make_the_same_recipe(
    name: str, changes: tuple[str, ...], expected: tuple[str, ...] | None, sources: Sources
) -> None:
    found = changes_of(sources, name, asked(name, *changes))
    assert expected is None or found == expected
    words = shlex.split(command(name, found))
    assert words[:3] == ["privaudit", "run", f"recipes/{name}.yaml"]
    assert words[3::2] == ["--set"] * len(found)
    hidden = [change for change in changes if "path" in change or "stack" in change]
    remade = load_recipe(name, [*words[4::2], *hidden])
    assert remade.digest() == load_recipe(name, list(changes)).digest()


def test_where_data_lies_is_told_nowhere(sources: Sources) -> None:
    recipe = asked("location30", "dataset.path=/data/of/mine.csv", "seeds=2")
    assert "mine" not in command("location30", changes_of(sources, "location30", recipe))


def test_a_recipe_that_cannot_be_had_is_refused(sources: Sources) -> None:
    recipe = asked("digits")
    recipe["training"]["momentum_of_then"] = 1
    with pytest.raises(privaudit.PrivauditError, match="momentum_of_then"):
        changes_of(sources, "digits", recipe)


def test_a_recipe_without_an_option_of_today_is_refused_by_the_option_s_name(
    sources: Sources,
) -> None:
    recipe = asked("digits")
    del recipe["training"]["patience"]
    with pytest.raises(privaudit.StoreError, match=r"by --set: training\.patience differ"):
        changes_of(sources, "digits", recipe)


def test_a_recipe_that_does_not_ship_is_refused(sources: Sources) -> None:
    with pytest.raises(privaudit.StoreError, match=r"no recipes/mine\.yaml"):
        resolved(sources, "mine")


def test_the_question_is_the_recipe_s_first_line(sources: Sources) -> None:
    assert question(sources, "attacks_digits") == (
        "Which attack finds most members of a small network's training data?"
    )
