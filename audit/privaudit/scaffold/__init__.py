"""Writes a new plugin's distribution: small, complete, and passing its own test at once."""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path
from string import Template

from privaudit.errors import PluginError
from privaudit.version import __version__

KINDS = ("attack", "sparsifier", "defense", "model", "dataset")

_RECIPE = {
    "attack": "attacks:\n  - {name}",
    "sparsifier": "sparsifiers:\n  - dense\n  - {name}",
    "defense": "defenses:\n  - none\n  - {name}",
    "model": "model: {name}",
    "dataset": "dataset: {name}",
}


def check_request(kind: str, name: str) -> None:
    """Refuse a kind that does not exist and a name that cannot be a module's.

    Raises:
        PluginError: with the nearest kind, or what a name looks like.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise PluginError(f"no kind of plugin is called {kind!r}: {hint}")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise PluginError(
            f"{name!r} cannot name a plugin: "
            "use lower-case letters, digits and single underscores, such as 'my_method'"
        )


def distribution_name(name: str) -> str:
    """The distribution, and the folder, of a plugin."""
    return f"privaudit-{name.replace('_', '-')}"


def write_plugin(kind: str, name: str, folder: Path) -> list[Path]:
    """Write a complete distribution with one plugin into a new folder.

    Args:
        kind: attack, sparsifier, defense, model or dataset.
        name: what recipes will call the plugin.
        folder: made here; it must not exist.

    Returns:
        The files written.

    Raises:
        PluginError: a bad kind or name, or a folder that exists or cannot be made.
    """
    check_request(kind, name)
    module = f"privaudit_{name}"
    words = {
        "kind": kind,
        "name": name,
        "module": module,
        "distribution": distribution_name(name),
        "cls": "".join(part.capitalize() for part in (*name.split("_"), kind)),
        "recipe": _RECIPE[kind].format(name=name),
        "version": __version__,
    }
    contents = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{module}/__init__.py": f"{kind}.py",
        f"src/{module}/py.typed": "py.typed",
        f"tests/test_{name}.py": "test.py",
    }
    try:
        folder.mkdir(parents=True)
        for path, template in contents.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_template(template).substitute(words), encoding="utf-8")
    except FileExistsError as error:
        raise PluginError(
            f"{folder} exists already, and nothing is overwritten: choose another with --output"
        ) from error
    except OSError as error:
        raise PluginError(f"{folder} cannot be written ({error}): choose another") from error
    return [folder / path for path in contents]


def _template(name: str) -> Template:
    file = resources.files("privaudit.scaffold") / "templates" / f"{name}.txt"
    return Template(file.read_text(encoding="utf-8"))
