"""The README cannot rot: its plugin, its recipe, its commands and its reference are tried here."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer.main

import privaudit
from privaudit.cli import app
from privaudit.host import load_plugins
from privaudit.plugin import KINDS, Plugin
from privaudit.recipe import Recipe, SplitOptions, load_recipe
from privaudit.testing import check_plugin
from privaudit.training import Training

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_two_commands_are_there() -> None:
    lines = README.splitlines()
    assert "pip install -e . && privaudit run recipes/digits.yaml" in lines
    assert "pip install -e '.[test]' && pytest" in lines


def test_the_first_plugin_is_complete_and_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "readme_margin.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load_plugins(entry_points=[EntryPoint("margin", "readme_margin", "privaudit")])
    assert not plugins.problems
    check_plugin(plugins.get("attack", "margin"))


def test_the_first_plugin_installs_with_its_pyproject(tmp_path: Path) -> None:
    (tmp_path / "margin.py").write_text(blocks("python")[0])
    (tmp_path / "pyproject.toml").write_text(blocks("toml")[0])
    site = tmp_path / "site"
    command = "pip install --quiet --no-deps --no-build-isolation --no-index --target"
    subprocess.run([sys.executable, "-m", *command.split(), site, tmp_path], check=True)
    assert (site / "margin.py").is_file()
    assert "margin = margin" in next(site.glob("*.dist-info/entry_points.txt")).read_text()


def test_the_outputs_shown_are_audited(tmp_path: Path) -> None:
    script = next(block for block in blocks("python") if "np.savez" in block)
    command = re.search(r"^privaudit (audit .*)$", README, flags=re.MULTILINE)
    assert command
    (tmp_path / "make.py").write_text(script.replace("max_iter=100", "max_iter=3"))
    subprocess.run([sys.executable, "-W", "ignore", "make.py"], cwd=tmp_path, check=True)
    words = [sys.executable, "-m", "privaudit", *shlex.split(command[1])]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert all(attack in done.stdout for attack in ("lira", "rmia", "loss"))


def test_the_first_recipe_is_right(tmp_path: Path) -> None:
    path = tmp_path / "first.yaml"
    path.write_text(blocks("yaml")[0])
    recipe = load_recipe(path, ["training.epochs=40", "sparsifiers.1.rounds=4"])
    assert [subject.label for subject in recipe.subjects()] == ["dense", "pruned"]


def test_the_mistakes_shown_are_the_mistakes_reported(tmp_path: Path) -> None:
    text = blocks("yaml")[0].replace("epochs: 20", "epocs: 20").replace("rounds: 2", "rounds: -1")
    path = tmp_path / "first.yaml"
    path.write_text(text)
    with pytest.raises(privaudit.RecipeError) as caught:
        load_recipe(path)
    shown = next(text for text in blocks("text") if text.startswith("first.yaml"))
    assert [
        line.removeprefix(f"{tmp_path}/") for line in caught.value.problems
    ] == shown.splitlines()


@pytest.mark.parametrize("model", [Recipe, SplitOptions, Training])
def test_every_recipe_key_is_in_the_reference(
    model: type[Recipe | SplitOptions | Training],
) -> None:
    reference = README.partition("## Recipe reference")[2].partition("## Commands")[0]
    first_cells = "".join(line.split("|")[1] for line in reference.splitlines() if "|" in line)
    missing = [name for name in model.model_fields if f"`{name}`" not in first_cells]
    assert not missing


def test_every_command_is_in_the_reference() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    table = README.partition("## Commands")[2].partition("## How to read")[0]
    assert all(f"`privaudit {name}" in table for name in commands)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_of_every_kind_is_in_the_table(kind: type[Plugin]) -> None:
    table = README.partition("## First plugin")[2].partition("## Recipe reference")[0]
    row = next(line for line in table.splitlines() if line.startswith(f"| `{kind.__name__}`"))
    own = [n for n, v in vars(kind).items() if inspect.isfunction(v) and not n.startswith("_")]
    assert not [name for name in own if name not in row]


def test_every_shipped_recipe_is_in_the_table() -> None:
    names = [path.stem for path in (Path(__file__).parents[2] / "recipes").glob("*.yaml")]
    assert all(f"| `{name}` |" in README for name in names)
