"""Relative paths: from the recipe's folder, else from the current one, and in a run from both."""

from __future__ import annotations

import pickle
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from privaudit import DataError, FilePath, Recipe, RecipeError, load_recipe, run
from privaudit.cli import main
from privaudit.experiment.identity import load_data
from privaudit.readers.door import expanded
from privaudit_plugins.datasets.table import Table

RECIPE = {
    "name": "paths",
    "dataset": {"name": "table", "path": "data/people.csv"},
    "split": {"validation": 0},
    "model": {"name": "mlp", "hidden": [4]},
    "training": {"epochs": 1},
    "shadows": 0,
    "sparsifiers": ["dense"],
    "attacks": ["loss"],
}
PLUGIN = """
from typing import Literal
import torch, privaudit

class Own(privaudit.Dataset):
    name: Literal["own"] = "own"
    path: privaudit.FilePath

    def load(self, root):
        number = float(self.path.found.read_text())
        ones = torch.tensor(1.0)
        return privaudit.Examples(
            torch.full((8, 2), number), torch.arange(8) % 2, ("a", "b"), 0 * ones, ones
        )

@privaudit.hookimpl
def privaudit_provide():
    return [Own]
"""


def people(path: Path, first: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"{first if n == 0 else n % 7},{n % 5},{'xy'[n % 2]}" for n in range(40))
    path.write_text("a,b,label\n" + "\n".join(rows) + "\n")
    return path


def write(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(RECIPE | changes))
    return file


def first(recipe: Recipe) -> float:
    """The first number of the recipe's data, by which they are told apart."""
    return float(load_data(recipe, Path()).pool.x[0, 0])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is not the recipe's."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_path_starts_at_the_recipe_and_else_at_the_current_folder(
    tmp_path: Path, here: Path
) -> None:
    file = write(tmp_path / "recipes")
    people(here / "data" / "people.csv", 11)
    assert first(load_recipe(file)) == 11
    near = people(tmp_path / "recipes" / "data" / "people.csv", 22)
    assert first(load_recipe(file)) == 22
    assert first(load_recipe(Path("..") / "recipes" / "recipe.yaml")) == 22
    near.unlink()
    assert first(load_recipe(file)) == 11


def test_what_is_set_on_the_command_line_starts_at_the_current_folder(
    tmp_path: Path, here: Path
) -> None:
    file = write(tmp_path / "recipes")
    people(tmp_path / "recipes" / "data" / "people.csv", 22)
    people(here / "data" / "people.csv", 11)
    for change in ("path=data/people.csv", "={name: table, path: data/people.csv}"):
        text = f"dataset.{change}" if change[0] != "=" else f"dataset{change}"
        recipe = load_recipe(file, [text])
        assert first(recipe) == 11
        assert yaml.safe_load(recipe.to_yaml())["dataset"]["path"] == "data/people.csv"
    assert first(load_recipe(file, ["dataset.standardize=false"])) == 22
    (here / "data" / "people.csv").unlink()
    with pytest.raises(DataError, match="starts from the current folder"):
        first(load_recipe(file, ["dataset.path=data/people.csv"]))


def test_a_path_to_nothing_is_one_line_that_names_both_folders(tmp_path: Path, here: Path) -> None:
    file = write(tmp_path / "recipes")
    with pytest.raises(DataError) as caught:
        first(load_recipe(file))
    assert str(caught.value) == (
        f"{here}/data/people.csv: no such file; looked for in {tmp_path}/recipes "
        f"(a folder of the recipe) and in {here} (the current folder)"
    )


def test_where_a_recipe_lies_is_no_part_of_what_it_is(tmp_path: Path, here: Path) -> None:
    recipes = []
    for name in ("one", "two"):
        people(tmp_path / name / "data" / "people.csv")
        recipes.append(load_recipe(write(tmp_path / name)))
    recipes.append(load_recipe(RECIPE))
    for recipe in recipes:
        assert recipe.digest() == recipes[0].digest()
        assert recipe.model_dump(mode="json") == recipes[0].model_dump(mode="json")
    before = dict(RECIPE, dataset=Table.model_validate({"path": Path("data/people.csv")}))
    assert load_recipe(before).digest() == recipes[0].digest()
    assert str(tmp_path) not in str(recipes[0].model_dump(mode="json"))


def test_the_recipe_of_a_run_finds_its_data_from_anywhere(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = people(tmp_path / "recipes" / "data" / "people.csv", 22)
    cache = tmp_path / "cache"
    done = run(load_recipe(write(tmp_path / "recipes")), tmp_path / "run", cache=cache)
    kept = tmp_path / "run" / "recipe.yaml"
    assert yaml.safe_load(kept.read_text())["folders"] == [str(tmp_path / "recipes")]
    elsewhere = tmp_path / "elsewhere"
    people(elsewhere / "data" / "people.csv", 33)  # which is not what the run was made of
    monkeypatch.chdir(elsewhere)
    again = load_recipe(kept)
    assert first(again) == 22
    assert again.digest() == load_recipe(tmp_path / "recipes" / "recipe.yaml").digest()
    assert again.to_yaml() == kept.read_text()
    assert run(again, tmp_path / "run", cache=cache).audits == done.audits
    data.unlink()
    assert first(load_recipe(kept)) == 33  # as said before there were folders
    shutil.move(elsewhere / "data", tmp_path / "run" / "data")
    assert first(load_recipe(kept)) == 33


def test_a_recipe_of_data_without_files_says_nothing_of_folders(tmp_path: Path) -> None:
    file = write(tmp_path, dataset="breast_cancer")
    assert "folders" not in load_recipe(file).to_yaml()
    absolute = people(tmp_path / "people.csv")
    named = write(tmp_path, dataset={"name": "table", "path": str(absolute)})
    assert "folders" not in load_recipe(named).to_yaml()


@pytest.mark.parametrize("folders", ["data", [1], {"a": 1}])
def test_folders_that_are_none_are_refused(tmp_path: Path, folders: object) -> None:
    with pytest.raises(RecipeError, match="folders"):
        load_recipe(write(tmp_path, folders=folders))


def test_a_shipped_recipe_starts_at_the_current_folder(here: Path) -> None:
    people(here / "data" / "location30.csv.xz")
    dataset = load_recipe("location30").dataset
    assert isinstance(dataset, Table)
    assert dataset.path.found == here / "data" / "location30.csv.xz"


def test_a_checkpoint_starts_at_the_recipe_too(tmp_path: Path, here: Path) -> None:
    part = {"name": "table", "path": "data/people.csv"}
    target = {"checkpoint": "./net.safetensors", "members": part, "non_members": part}
    recipe = load_recipe(write(tmp_path / "recipes", target=target))
    (tmp_path / "recipes" / "net.safetensors").write_bytes(b"")
    assert recipe.target is not None
    assert expanded(recipe.target.checkpoint) == tmp_path / "recipes" / "net.safetensors"
    assert recipe.target.model_dump()["checkpoint"] == "./net.safetensors"  # as it is written
    (here / "net.safetensors").write_bytes(b"")
    (tmp_path / "recipes" / "net.safetensors").unlink()
    assert expanded(recipe.target.checkpoint) == here / "net.safetensors"


def test_plugins_of_strangers_use_the_same_type(tmp_path: Path, here: Path) -> None:
    (here / "own.py").write_text(PLUGIN)
    folder = tmp_path / "recipes"
    file = write(folder, dataset={"name": "own", "path": "number.txt"})
    (folder / "number.txt").write_text("7")
    assert first(load_recipe(file, files=["own.py"])) == 7
    shutil.move(here / "own.py", folder / "own.py")
    assert first(load_recipe(file, files=["own.py"])) == 7
    listed = write(folder, dataset={"name": "own", "path": "number.txt"}, plugins=["own.py"])
    assert first(load_recipe(listed)) == 7
    shutil.move(folder / "own.py", here / "own.py")
    assert first(load_recipe(listed)) == 7
    (here / "own.py").unlink()
    with pytest.raises(RecipeError, match=r"own\.py"):
        load_recipe(listed)


def test_home_absolute_paths_and_names_that_no_file_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    people(tmp_path / "p.csv", 5)
    for text in ("~/p.csv", str(tmp_path / "p.csv")):
        path = FilePath(text, ["/nowhere"])
        assert path.anchored
        assert path.folder is None
        assert expanded(path) == tmp_path / "p.csv"
    with pytest.raises(DataError, match="name holds a character that no name may"):
        Table(path=FilePath("a\0b", [tmp_path])).load(tmp_path)


def test_a_path_goes_whole_to_other_processes() -> None:
    path = FilePath("a.csv", ["/one", "/two"])
    for copied in (pickle.loads(pickle.dumps(path)), deepcopy(path)):
        assert (copied, copied.folders) == (path, path.folders)


@pytest.mark.parametrize("value", [3, None, ["a"], {"a": 1}])
def test_what_is_no_path_is_a_mistake_of_the_recipe(tmp_path: Path, value: object) -> None:
    with pytest.raises(RecipeError, match=r"dataset\.path"):
        load_recipe(write(tmp_path, dataset={"name": "table", "path": value}))


def test_the_command_line_says_it_in_one_line(
    tmp_path: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(tmp_path / "recipes")
    monkeypatch.setattr(sys, "argv", ["privaudit", "run", str(file), "--cache", "cache"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert "looked for in" in "".join(lines)
    assert not any("Traceback" in line for line in lines)


def test_options_that_are_set_stay_plain_text(tmp_path: Path) -> None:
    people(tmp_path / "data" / "people.csv")
    changes = ["name=other", "attacks=[{name: loss, label: mine}]", "sparsifiers=[dense]"]
    recipe = load_recipe(write(tmp_path), changes)
    assert yaml.safe_load(recipe.to_yaml())["name"] == "other"
    assert type(recipe.name) is str
    assert recipe.attacks[0].title == "mine"
