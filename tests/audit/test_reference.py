"""The pages of docs/reference are what the code says, and the code says what is right."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from pydantic import BaseModel, Field

import privaudit
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.api.plugin import KINDS, acts_in_training
from privaudit.api.split_options import CanaryOptions
from privaudit.doubts.doubt import DOUBTS
from privaudit.recipe import Recipe, SplitOptions, load_recipe
from privaudit.recipe.build import BESIDE
from privaudit.recipe.gates import GateOptions
from privaudit.recipe.target import MeanStd, TargetAccuracy, TargetOptions
from privaudit.statistics.table import METRICS
from privaudit.training import Training
from reference import FOLDER, differing, main
from reference_pages import doubts, metrics, pages, plugins
from reference_pages.examples import EXAMPLES

LOADED = load_plugins()
PLUGINS = [one for one in LOADED.provided if one.distribution == "privaudit"]
KIND_NAMES = [kind.kind for kind in KINDS]

BASE: dict[str, Any] = {
    "name": "base",
    "dataset": "digits",
    "split": {"protocol": "halves", "members": 100, "reference": 0.2, "validation": 0.1},
    "model": {"name": "cnn", "norm": "batch"},
    "training": {"epochs": 2, "schedule": "step"},
    "shadows": 8,
    "sparsifiers": [{"name": "l1_unstructured", "epochs": 1}],
    "attacks": ["loss"],
}
"""A recipe in which every plugin can take its place."""

TARGET = {
    "checkpoint": "model.safetensors",
    "members": {"name": "arrays", "path": "members.npz"},
    "non_members": {"name": "arrays", "path": "others.npz"},
    "normalise": "unit",
}


@pytest.fixture(scope="module")
def fresh() -> dict[str, str]:
    return pages()


def written(path: str) -> str:
    return (FOLDER / path).read_text(encoding="utf-8")


def section(kind: str, name: str) -> str:
    """What a page says of one plugin."""
    page = written(f"plugins/{kind}.md")
    return page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row of a text's tables, by the first of them, without its marks."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in lines]
    plain = [[cell.replace("\\|", "|") for cell in row] for row in cells]
    return {first.strip("`"): rest for first, *rest in plain}


def test_every_page_is_as_the_code_has_it(fresh: dict[str, str]) -> None:
    assert differing(fresh, FOLDER) == []


def test_the_check_names_each_page_that_is_not(
    tmp_path: Path, fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reference"
    shutil.copytree(FOLDER, folder)
    assert main(["--check"], folder) == 0
    (folder / "doubts.md").unlink()
    (folder / "old.md").write_text("of a kind that is gone")
    (folder / "plugins" / "model.md").write_text(fresh["plugins/model.md"] + "by hand")
    assert main(["--check"], folder) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "docs/reference/plugins/model.md differs from the code",
        "docs/reference/doubts.md is missing",
        "docs/reference/old.md is made from nothing",
    ]
    assert all("python docs/site/reference.py" in line for line in told[:2])
    assert not (folder / "doubts.md").exists()  # a check writes nothing
    assert main([], folder) == 1  # what nothing makes is for a person to remove
    assert differing(fresh, folder) == ["docs/reference/old.md is made from nothing: remove it"]


class Renamed(privaudit.Attack):
    """The lower the loss, the likelier a member."""

    paper: ClassVar[str] = "Yeom et al. 2018, Privacy risk in machine learning, section III"
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["loss"] = "loss"


class WithAnOption(Renamed):
    __doc__ = Renamed.__doc__
    name: Literal["loss"] = "loss"
    power: float = Field(1.0, gt=0, description="of the loss")


class WithAnotherOption(Renamed):
    __doc__ = Renamed.__doc__
    name: Literal["loss"] = "loss"
    force: float = Field(1.0, gt=0, description="of the loss")


class WithAnotherMeaning(Renamed):
    __doc__ = Renamed.__doc__
    name: Literal["loss"] = "loss"
    power: float = Field(1.0, gt=0, description="of the cross-entropy")


class WithAnotherBound(Renamed):
    __doc__ = Renamed.__doc__
    name: Literal["loss"] = "loss"
    power: float = Field(1.0, ge=0, description="of the loss")


class Departing(WithAnOption):
    __doc__ = Renamed.__doc__
    deviations: ClassVar[tuple[str, ...]] = ("It sees more.",)
    name: Literal["loss"] = "loss"


class Asking(WithAnOption):
    __doc__ = Renamed.__doc__
    noise: ClassVar[int] = 3
    name: Literal["loss"] = "loss"


def _attacks(monkeypatch: pytest.MonkeyPatch, *classes: type[privaudit.Plugin]) -> str:
    """The page of attacks, where these are all of them."""
    provided = tuple(
        Provided(cls, "attack", cls.model_fields["name"].default, "privaudit", "1", "0" * 64)
        for cls in classes
    )
    monkeypatch.setattr(plugins, "load_plugins", lambda: Plugins(provided))
    return dict(plugins.pages())["attack"]


@pytest.mark.parametrize(
    "changed",
    [Renamed, WithAnotherOption, WithAnotherMeaning, WithAnotherBound, Departing, Asking],
)
def test_no_change_of_a_plugin_goes_unnoticed(
    changed: type[privaudit.Plugin], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _attacks(monkeypatch, WithAnOption)
    assert before == _attacks(monkeypatch, WithAnOption)
    assert before != _attacks(monkeypatch, changed)


def test_a_plugin_that_is_added_or_gone_changes_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    (mlp,) = [one.cls for one in PLUGINS if one.name == "mlp"]
    alone = _attacks(monkeypatch, Renamed)
    assert "`mlp`" in _attacks(monkeypatch, Renamed, mlp)
    assert "`mlp`" not in alone


def test_a_strangers_plugin_is_on_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = replace(PLUGINS[0], distribution="privaudit-stranger")
    monkeypatch.setattr(plugins, "load_plugins", lambda: Plugins((stranger,)))
    assert not [text for _, text in plugins.pages() if stranger.name in text]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_built_in_plugin_has_a_section_and_a_line_in_its_page_s_list(kind: str) -> None:
    listed = [one for one in load_plugins().listed() if one.kind == kind]  # from sources
    names = [one.name for one in listed if one.distribution == "privaudit"]
    page = written(f"plugins/{kind}.md")
    assert names
    assert re.findall(r"^## `(\w+)`$", page, flags=re.MULTILINE) == names
    assert re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\)", page, flags=re.MULTILINE) == [
        (name, name) for name in names
    ]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda one: f"{one.kind} {one.name}")
def test_a_plugin_s_section_tells_all_of_it(plugin: Provided) -> None:
    said, cls = section(plugin.kind, plugin.name), plugin.cls
    assert plugin.summary in said
    assert cls.paper.rstrip(".") in said
    _, heading, departs = said.partition("\n**Where it departs from the paper**\n")
    assert bool(heading) == bool(cls.deviations)
    assert [x[2:] for x in departs.splitlines() if x.startswith("- ")] == list(cls.deviations)
    fields = cls.model_fields.items()
    options = {field.alias or name: field for name, field in fields if name != "name"}
    if issubclass(cls, privaudit.Defense) and not acts_in_training(cls):
        del options["during"]
    table = {name: cells for name, cells in rows(said).items() if len(cells) == 3}
    assert set(table) == set(options)
    for name, field in options.items():
        values, default, meaning = table[name]
        assert values
        assert (default == "required") == field.is_required()
        assert meaning == field.description


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda one: f"{one.kind} {one.name}")
def test_the_line_that_names_a_plugin_is_right_in_a_recipe(plugin: Provided) -> None:
    (line,) = re.findall(r"^\*\*In a recipe\*\*: `(.*)`$", section(plugin.kind, plugin.name), re.M)
    (entry,) = yaml.safe_load(line).items()
    key, value = entry
    if plugin.name == "timm":
        pytest.importorskip("timm", reason="networks of timm need privaudit[timm]")
    loaded = load_recipe(BASE | {key: value}, plugins=LOADED)
    held = getattr(loaded, key)
    named = held if plugin.kind in ("dataset", "model") else held[0].plugin
    assert type(named) is plugin.cls


SECTIONS: dict[str, type[BaseModel]] = {
    "": Recipe,
    "split": SplitOptions,
    "split.canaries": CanaryOptions,
    "training": Training,
    "target": TargetOptions,
    "target.normalise": MeanStd,
    "target.accuracy": TargetAccuracy,
    "gates": GateOptions,
}


@pytest.mark.parametrize("place", SECTIONS)
def test_every_key_of_a_recipe_has_a_row_with_its_meaning(place: str) -> None:
    page = written("recipe.md")
    said = page.partition(f"\n## `{place}`\n")[2] if place else page
    told = rows(said.partition("\n## ")[0])
    assert list(told) == list(SECTIONS[place].model_fields)
    for name, field in SECTIONS[place].model_fields.items():
        values, default, meaning = told[name]
        assert values
        assert default
        assert meaning.partition("; as in `")[0] == field.description
    headings = re.findall(r"^## `([\w.]+)`$", page, flags=re.MULTILINE)
    assert headings == [section for section in SECTIONS if section]


def test_what_a_recipe_may_leave_out_has_the_default_it_gets() -> None:
    told = rows(written("recipe.md").partition("\n## ")[0])
    least = {key: BASE[key] for key, cells in told.items() if cells[1] == "required"}
    loaded = load_recipe(least, plugins=LOADED)
    for key in ("sparsifiers", "defenses"):
        names = [entry.plugin.name for entry in getattr(loaded, key)]
        assert told[key][1] == f"`[{', '.join(names)}]`"


def test_what_stands_beside_options_is_told_for_each_list() -> None:
    told = rows(written("recipe.md").partition("\n## Beside a plugin's options\n")[2])
    for key in ("sparsifiers", "defenses", "attacks"):
        wanted = {name for name, (holders, _) in told.items() if f"`{key}`" in holders}
        assert wanted == set(BESIDE[key])


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_of_a_recipe_s_keys_are_right(path: str, tmp_path: Path) -> None:
    (tmp_path / "margin.py").write_text("")
    keys, value = path.split("."), yaml.safe_load(EXAMPLES[path])
    if path == "plugins":
        assert value == ["./margin.py"]  # a file of the README's reader
        return
    given = BASE | ({"target": TARGET} if keys[0] == "target" else {})
    if path == "split.canaries":
        given |= {"split": {"protocol": "coin"}}
    if len(keys) == 2:
        value = {**given.get(keys[0], {}), keys[1]: value}
    load_recipe(given | {keys[0]: value}, plugins=LOADED)
    assert f"`{keys[-1]}: {EXAMPLES[path]}`" in written("recipe.md")


PAGES: dict[Callable[[], str], set[str]] = {
    metrics.page: {metric.name for metric in METRICS},
    doubts.page: set(DOUBTS),
}


@pytest.mark.parametrize(("page", "names"), PAGES.items())
def test_every_metric_and_every_doubt_has_a_row(page: Callable[[], str], names: set[str]) -> None:
    assert set(rows(page())) == names


def test_a_meaning_that_is_changed_changes_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doubts.page() == written("doubts.md")
    monkeypatch.setitem(DOUBTS, "shift", "another")
    assert doubts.page() != written("doubts.md")
    monkeypatch.setattr(metrics, "METRICS", METRICS[1:])
    assert metrics.page() != written("metrics.md")
