"""README and docs cannot rot: plugins, recipes and commands are tried here.

That what they show runs, and that links lead somewhere, is seen to in `tests/pages`.
"""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import typer.main
from sklearn.datasets import load_digits

import privaudit
from privaudit.api.host import load_plugins
from privaudit.api.plugin import KINDS, Plugin
from privaudit.cli import app, main
from privaudit.recipe import load_recipe
from privaudit.statistics import table
from privaudit.statistics.metric import Metric
from privaudit.testing import check_plugin

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}(?: title=[^\n]*)?\n(.*?)```", TEXT, flags=re.DOTALL)


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def row(heading: str, first_cell: str) -> str:
    """The one row of a section's tables that begins so."""
    (found,) = [x for x in section(heading).splitlines() if x.startswith(f"| {first_cell}")]
    return found


def test_the_two_commands_are_there() -> None:
    lines = PAGES[0].read_text().splitlines()
    assert "pip install -e . && privaudit run recipes/digits.yaml" in lines
    assert "pip install -e '.[test]' && pytest" in lines


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= 200


def test_the_first_plugin_is_complete_and_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "readme_margin.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load_plugins(entry_points=[EntryPoint("margin", "readme_margin", "privaudit")])
    assert not plugins.problems
    check_plugin(plugins.get("attack", "margin"))


def test_the_network_of_one_s_own_trains_on_sequences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sequences.py").write_text(next(b for b in blocks("python") if "LSTM" in b))
    (tmp_path / "first.yaml").write_text(blocks("yaml")[0])
    x, y = load_digits(return_X_y=True)
    np.savez(tmp_path / "rows.npz", x=x[:200].reshape(-1, 8, 8).astype("float32"), y=y[:200])
    text = re.search(r"`(privaudit run first.yaml --plugin sequences.py[^`]*)`", TEXT)
    assert text is not None
    small = "--set training.epochs=1 --set seeds=1 --set attacks=[loss] --set sparsifiers=[dense]"
    words = [*shlex.split(" ".join(text[1].split())), *small.split(), "--device", "cpu"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*words, "--cache", "cache", "--processes", "1"])
    monkeypatch.setattr("privaudit.cli.run._attach_logging", lambda console: None)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "dense" in capsys.readouterr().out


def test_options_of_all_commands_are_told() -> None:
    options = typer.main.get_command(app).params
    names = [name for option in options for name in option.opts if name not in ("--version",)]
    assert names
    assert all(re.search(rf"privaudit {name}[ `]", section("Commands")) for name in names)


def test_the_first_plugin_installs_with_its_pyproject(tmp_path: Path) -> None:
    (tmp_path / "margin.py").write_text(blocks("python")[0])
    (tmp_path / "pyproject.toml").write_text(blocks("toml")[0])
    site = tmp_path / "site"
    command = "pip install --quiet --no-deps --no-build-isolation --no-index --target"
    subprocess.run([sys.executable, "-m", *command.split(), site, tmp_path], check=True)
    assert (site / "margin.py").is_file()
    assert "margin = margin" in next(site.glob("*.dist-info/entry_points.txt")).read_text()


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


def test_every_command_is_in_the_reference_with_its_options() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        if hasattr(command, "commands"):
            continue
        told = row("Commands", f"`privaudit {name}")
        options = [option for each in command.params for option in each.opts if option[0] == "-"]
        assert not [option for option in options if not re.search(rf"{option}\b", told)], name


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_of_plugin_may_write_is_in_the_table(kind: type[Plugin]) -> None:
    told = row("A plugin of your own", f"`{kind.__name__}`")
    own = [n for n, v in vars(kind).items() if inspect.isfunction(v) and not n.startswith("_")]
    own += kind.__class_vars__ & set(vars(kind)) - {"kind"}
    assert not [name for name in own if not re.search(rf"`{name}\b", told)]


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_those_of_the_contract(kind: type[Plugin]) -> None:
    told = re.findall(r"`(\w+)\(([^)]*)\)", row("A plugin of your own", f"`{kind.__name__}`"))
    assert told
    for name, arguments in told:
        wanted = list(inspect.signature(getattr(kind, name)).parameters)[1:]
        assert arguments.split(", ") == wanted, name


@pytest.mark.parametrize("kind", KINDS)
def test_the_built_in_plugins_are_those_of_the_table(kind: type[Plugin]) -> None:
    named = set(re.findall(r"`(\w+)`", row("Built-in plugins", kind.kind)))
    provided = load_plugins().provided
    ours = {p.name for p in provided if p.kind == kind.kind and p.distribution == "privaudit"}
    assert named == ours


def test_all_that_is_said_of_a_cohort_is_there(make_cohort: Callable[[], privaudit.Cohort]) -> None:
    said = re.search(
        r"move it by(.*?)Two modules", section("A plugin of your own"), flags=re.DOTALL
    )
    assert said
    names = re.findall(r"`(\w+)", said[1])
    assert {"fit", "prune_where", "note", "rows"} <= set(names)
    assert not [name for name in names if not hasattr(make_cohort(), name)]


def test_what_is_named_in_python_can_be_imported() -> None:
    for name in set(re.findall(r"\bprivaudit(?:\.[A-Za-z_]+)+", TEXT)):
        resolve_name(name)


def test_extras_are_those_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"`privaudit\[(\w+)\]`", TEXT))
    assert named == set(project["optional-dependencies"]) - {"test"}


def test_every_note_of_a_built_in_plugin_is_explained() -> None:
    sources = [path.read_text() for path in (ROOT / "plugins").rglob("*.py")]
    notes = {name for text in sources for name in re.findall(r'\.note\(\s*"([^"]+)"', text)}
    assert notes
    assert not [name for name in notes if f"**{name}**" not in section("How to read the table")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_in_the_table_with_its_cost(path: Path) -> None:
    table = [line.split("|") for line in section("First audit").splitlines() if line[:1] == "|"]
    (cells,) = [cells for cells in table if f"`{path.stem}`" in cells[1]]
    cost = re.search(r"\(([\w ]+ (?:seconds|minutes?)) on 2 CPU cores", path.read_text())
    assert cells[3].strip() == (f"{cost[1]} on 2 cores" if cost else "one GPU")


def test_the_recipe_behind_the_defenses_is_right() -> None:
    command = next(b for b in blocks("console") if b.startswith("privaudit run attacks_digits"))
    words = shlex.split(command.replace("\\\n", " "))
    changes = [value for flag, value in pairwise(words) if flag == "--set"]
    recipe = load_recipe(words[2], changes)
    table = section("Which defense?")
    assert all(f"| {subject.defense_label}" in table for subject in recipe.subjects())


@pytest.mark.parametrize("metric", table.METRICS, ids=lambda metric: metric.name)
def test_how_to_read_the_table_speaks_of_every_metric(metric: Metric) -> None:
    text = section("How to read the table").lower()
    family, at, _ = metric.name.partition("@")
    assert family in text
    assert metric.name in text or metric.by_default  # those of every table have their headings
    gates = section("What a gate looks at")
    assert (f"`{family}{at}" in gates) == (metric.gate is not None)
