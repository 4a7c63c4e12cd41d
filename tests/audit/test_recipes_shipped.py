"""Every recipe that ships is right, and says how to run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from privaudit.recipe import load_recipe, shipped_recipes

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))


def test_there_are_recipes_and_all_are_found_by_name() -> None:
    assert {"digits", "cifar_resnet20", "cifar_resnet20_quick", "location30"} <= {
        path.stem for path in RECIPES
    }
    assert set(shipped_recipes()) == {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_named_like_its_file(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_question_its_command_and_its_cost(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert re.fullmatch(r"# .*\?.*", lines[0]), "the first line asks the question"
    head = "\n".join(line for line in lines[: lines.index(f"name: {path.stem}")])
    assert f"privaudit run recipes/{path.name}" in head
    assert re.search(r"\(.*(minute|GPU|second|hour).*\)", head), "what it costs"


def test_the_paper_in_full_is_186_trainings() -> None:
    recipe = load_recipe(FOLDER / "cifar_resnet20.yaml")
    rounds = sum(getattr(s.sparsifier, "rounds", 0) + 1 for s in recipe.subjects())
    dense = 1  # the same training as IMP's round 0
    assert (rounds - dense) * len(recipe.seeds) * (1 + recipe.shadows) == 186
    assert recipe.training.epochs == 300
    assert recipe.split.members == 14_000
    assert recipe.split.non_members == 15_000
