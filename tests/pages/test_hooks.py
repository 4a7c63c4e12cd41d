"""The pages about hooks: all are there, examples keep the contract, what breaks says so."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import privaudit
from hook_pages import Breaking, HookPage, fences
from privaudit.api import world
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.api.plugin import KINDS, Plugin
from privaudit.events import EVENTS
from privaudit.testing import check_plugin

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: HookPage(path) for path in sorted((DOCS / "hooks").glob("*.md"))}
RECIPE = next(f.text for f in fences(PAGES["index"].text) if f.title == "hooks.yaml")
EXAMPLES = [(page, file) for page in PAGES.values() for file in page.examples]
BREAKS = [change for page in PAGES.values() for change in page.breaking()]
PLACES = {
    "dataset": "dataset={}",
    "model": "model={}",
    "sparsifier": "sparsifiers=[{}]",
    "defense": "defenses=[{}]",
    "attack": "attacks=[{}]",
}
MORE = {
    ("rounds.py", "tunes"): "defenses=[ppb]",
    ("coarse.py", "follow"): "sparsifiers=[{name: dense, then: coarse}]",
    ("sure.py", "shadows"): "shadows=0",
}
"""What else a page says of the recipe in which an example breaks."""
METHOD = {"Called", "Given", "Returns", "Must not", "Owner", "Fails", "Default"}
ATTRIBUTE = {"Read", "Values", "Fails", "Default"}


def hooks(kind: type[Plugin]) -> dict[str, set[str]]:
    """What a plugin of a kind may write, and what a page tells of it."""
    methods = [n for n, v in vars(kind).items() if inspect.isfunction(v) and n[0] != "_"]
    attributes = kind.__class_vars__ & set(vars(kind)) - {"kind"}
    return dict.fromkeys(methods, METHOD) | dict.fromkeys(attributes, ATTRIBUTE)


def named_of_a_cohort() -> set[str]:
    """The members that the short page names."""
    said = re.search(r"move it by(.*?)Two modules", (DOCS / "plugins.md").read_text(), re.DOTALL)
    assert said
    return set(re.findall(r"`(\w+)", said[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_has_a_heading_an_example_and_what_breaks_it(kind: type[Plugin]) -> None:
    page = PAGES[kind.kind]
    assert page.sections.keys() == hooks(kind).keys()
    broken = {change.section for change in page.breaking()}
    for name, labels in hooks(kind).items():
        section = page.sections[name]
        assert labels <= section.labels, f"{name} lacks {labels - section.labels}"
        source = page.examples[section.files[0]]
        assert re.search(rf"^    (?:def )?{name}\b", source, flags=re.MULTILINE), name
        assert name in broken, name


def test_every_member_of_a_cohort_has_an_entry_an_example_and_what_breaks_it() -> None:
    page = PAGES["cohort"]
    public = {n for n in vars(privaudit.Cohort) if n[0] != "_"}
    assert named_of_a_cohort() == page.sections.keys() == public
    broken = {change.section for change in page.breaking()}
    for name, section in page.sections.items():
        assert re.search(rf"cohort\.{name}\b|other\.{name}\b", page.examples[section.files[0]]), (
            name
        )
        assert name in broken, name


def test_the_first_page_tells_of_the_module_s_hook_and_lists_the_others() -> None:
    page = PAGES["index"]
    assert page.sections["privaudit_provide"].labels >= METHOD
    for kind in KINDS:
        (row,) = [x for x in page.text.splitlines() if x.startswith(f"| [{kind.kind}](")]
        assert set(re.findall(r"`(\w+)`", row)) == hooks(kind).keys()


def test_the_page_of_events_tells_of_the_hook_and_of_every_event() -> None:
    page = PAGES["event"]
    assert page.sections["privaudit_event"].labels >= METHOD
    assert {change.section for change in page.breaking()} == {"privaudit_event"}
    told = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", page.text, flags=re.MULTILINE))
    for kind in EVENTS:
        assert re.findall(r"`(\w+)`", told.pop(kind.__name__)) == [f.name for f in fields(kind)]
    assert not told


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipe, where files are told by their names."""
    (tmp_path / "hooks.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "_told", set())
    return tmp_path


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What the engine warns of."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("privaudit").addHandler(handler)
    yield said
    logging.getLogger("privaudit").removeHandler(handler)


@cache
def installed() -> Plugins:
    """The plugins that are installed, looked up once."""
    return load_plugins()


def brought(file: str) -> Provided | None:
    """The plugin that a file brings; None where it only listens to runs."""
    plugins = Plugins().with_files([file])
    found = [one for one in plugins._given if one.distribution == file]
    assert len(found) + len(plugins.listening()[0]) == 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("page", "file"), EXAMPLES, ids=lambda value: getattr(value, "path", value)
)
def test_an_example_keeps_the_contract(
    page: HookPage, file: str, here: Path, warned: list[str]
) -> None:
    (here / file).write_text(page.examples[file])
    plugin = brought(file)
    if plugin is None:
        assert run(file, "", warned) == []
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_plugin(plugin.cls)


def checked(file: str) -> list[str]:
    """What `check_plugin` says."""
    try:
        plugin = brought(file)
        assert plugin is not None, "check_plugin is for plugins"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            check_plugin(plugin.cls)
    except (AssertionError, privaudit.PluginError) as error:
        return [str(error)]
    return [str(one.message) for one in caught if "trained one after another" in str(one.message)]


def run(file: str, section: str, warned: list[str]) -> list[str]:
    """What a run says."""
    try:
        plugin = brought(file)
        changes = [f"plugins=[./{file}]"]
        changes += [PLACES[plugin.kind].format(plugin.name)] if plugin else []
        changes += [MORE[file, section]] if (file, section) in MORE else []
        folders: Any = {"output": Path("run"), "cache": Path("cache")}
        recipe = privaudit.load_recipe(Path("hooks.yaml"), changes, plugins=installed())
        result = privaudit.run(recipe, **folders, device="cpu", plugins=installed())
    except privaudit.PrivauditError as error:
        return [str(error)]
    return [*(failure.sentence for failure in result.failures), *warned]


def shown_by(said: list[str], shown: str, here: Path) -> bool:
    """Whether something that was said is what a page shows, perhaps cut short."""
    plain = [" ".join(line.replace(str(here), "/home/you").split()) for line in said]
    if shown.endswith(" ..."):
        return any(line.startswith(shown.removesuffix("...")) for line in plain)
    return shown in plain or (shown == "nothing" and not plain)


@pytest.mark.parametrize("change", BREAKS, ids=lambda change: f"{change.file}-{change.section}")
def test_what_breaks_an_example_says_the_line_that_is_shown(
    change: Breaking, here: Path, warned: list[str]
) -> None:
    source = PAGES[change.page.removesuffix(".md")].examples[change.file]
    (here / change.file).write_text(change.applied(source))
    assert change.lines
    for line in change.lines:
        how, _, shown = line.partition(": ")
        assert how in ("check", "run", "both"), line
        runs = how == "run"
        said = run(change.file, change.section, warned) if runs else checked(change.file)
        assert shown_by(said, shown, here), said
