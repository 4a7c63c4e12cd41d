"""The floors of the house: imports go down, nothing goes in a circle, plugins are strangers."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import privaudit
import privaudit_plugins

ENGINE = Path(privaudit.__file__).parent
PLUGINS = Path(privaudit_plugins.__file__).parent

FLOORS = (
    {
        "errors",
        "values",
        "answers",
        "reductions",
        "keys",
        "events",
        "training",
        "version",
        "messages",
        "optimizers",
        "learning",
    },
    {"api", "statistics", "jobs", "readers"},
    {"networks", "store", "recipe", "doubts", "gate"},
    {"train"},
    {"cohort", "channels", "report", "explain", "figures", "page", "diff"},
    {"experiment"},
    {"outputs", "testing", "scaffold"},
    {"cli", "__init__", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

PUBLIC = {
    "privaudit",
    "privaudit.channels",
    "privaudit.events",
    "privaudit.keys",
    "privaudit.learning",
    "privaudit.optimizers",
    "privaudit.readers",
    "privaudit.reductions",
    "privaudit.statistics",
    "privaudit.store.files",
    "privaudit.testing",
    "privaudit.training",
}
"""What a plugin may import: a stranger's, and so a built-in one."""


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@lru_cache
def _modules(root: Path) -> dict[str, Path]:
    return {_name(path, root): path for path in root.rglob("*.py")}


@lru_cache
def _imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it, for types alone or not."""
    modules = _modules(ENGINE) | _modules(PLUGINS)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules.keys() or {str(node.module)}
    return {name for name in found if name.partition(".")[0].startswith("privaudit")}


def _graph() -> dict[str, set[str]]:
    files = _modules(ENGINE)
    return {
        name: {target for target in _imports(path) if target in files and target != name}
        for name, path in files.items()
    }


def _room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_every_file_stands_on_a_floor_and_imports_only_from_below() -> None:
    graph = _graph()
    assert {_room(name) for name in graph} <= FLOOR.keys()
    upwards = [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in targets
        if FLOOR[_room(target)] > FLOOR[_room(name)]
    ]
    assert upwards == []


def test_the_engine_never_imports_its_own_front_door() -> None:
    for name, targets in _graph().items():
        assert "privaudit" not in targets, name


def test_no_imports_go_in_a_circle() -> None:
    graph = _graph()
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " > ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert len(done) > 100


def test_few_modules_lie_side_by_side_and_no_file_is_long() -> None:
    flat = [path.name for path in ENGINE.glob("*.py") if not path.name.startswith("__")]
    assert len(flat) <= 12
    for folder in (ENGINE, PLUGINS):
        for path in folder.rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path


def test_the_engine_knows_no_built_in_plugin() -> None:
    for path in ENGINE.rglob("*.py"):
        assert not any(name.startswith("privaudit_plugins") for name in _imports(path)), path


def test_built_in_plugins_import_what_a_stranger_may() -> None:
    modules = {_name(path, ENGINE) for path in ENGINE.rglob("*.py")}
    for path in PLUGINS.rglob("*.py"):
        for name in _imports(path):
            if name.startswith("privaudit_plugins") or name not in modules:
                continue
            allowed = name in PUBLIC or any(
                name.startswith(f"{room}.") for room in PUBLIC - {"privaudit"}
            )
            assert allowed, f"{path.relative_to(PLUGINS)} imports {name}"
