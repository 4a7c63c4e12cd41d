"""Plugins that are installed: one that nobody names harms nothing, one that is named is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.campaign._case import Case
from tests.campaign._command import Ran, complaint, digits, privaudit
from tests.campaign._installed import HEAD, IMPORTS, METADATA, PLUGIN, UNREADABLE

QUESTION = "does an installed plugin that nobody names harm nothing, and is one that is named told?"

_RECIPE: dict[str, object] = {"sparsifiers": ["dense"], "attacks": ["loss"], "shadows": 1}
_SECONDS = 45.0


def cases(seed: int) -> Iterator[Case]:
    """For each misbehaviour every command that does not name it, and a recipe that does."""
    for name, code in IMPORTS.items():
        site = partial(_module, code)
        for command, tried in _UNNAMED.items():
            yield Case(f"{name}, unnamed: {command}", partial(tried, site))
        if name not in ("is never done", "is killed", "takes all memory"):
            yield Case(f"{name}, named: run", partial(_named, site, code))
            yield Case(f"{name}, named: show", partial(_shown, site, code))
    for name, write in METADATA.items():
        for command, tried in _UNNAMED.items():
            if command != "run" or name not in UNREADABLE:
                yield Case(f"{name}: {command}", partial(tried, write))


def _module(code: str | bytes, folder: Path) -> None:
    """A distribution whose module does something when it is imported, and provides an attack."""
    (folder / "hostile_module.py").write_bytes(
        code if isinstance(code, bytes) else (HEAD + code + PLUGIN).encode()
    )
    about = folder / "hostile-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text("[privaudit]\nhostile = hostile_module\n")


Site = Callable[[Path], None]


def _command(site: Site | None, folder: Path, *arguments: str | Path) -> Ran:
    """A command where something is installed; campaign commands have the folder on their path."""
    if site:
        site(folder)
    return privaudit(*arguments, cwd=folder, seconds=_SECONDS)


def _lists(site: Site, folder: Path) -> str:
    ran = _command(site, folder, "plugins", "--json")
    if problem := complaint(ran, 0):
        return problem
    names = {one["name"] for one in json.loads(ran.out)["plugins"]}
    return "" if {"loss", "digits", "dense"} <= names else "does not list the built-in plugins"


def _validates(site: Site, folder: Path) -> str:
    return complaint(
        _command(site, folder, "validate", digits(folder, "recipe.yaml", **_RECIPE)), 0
    )


def _runs(site: Site, folder: Path) -> str:
    found = _numbers(site, folder)
    return "" if found == _clean() else f"other numbers: {found}"[:300]


_UNNAMED = {"plugins": _lists, "validate": _validates, "run": _runs}


def _named(site: Site, code: str | bytes, folder: Path) -> str:
    recipe = digits(folder, "recipe.yaml", **(_RECIPE | {"attacks": ["loss", "hostile"]}))
    return _told(_command(site, folder, "run", recipe, "--output", "run"), code)


def _shown(site: Site, code: str | bytes, folder: Path) -> str:
    return _told(_command(site, folder, "plugins", "show", "hostile"), code)


def _told(ran: Ran, code: str | bytes) -> str:
    """Whether it is used where its import does no more than change things, and told otherwise."""
    if isinstance(code, str) and code.startswith("# harmless"):
        return complaint(ran, 0)
    if problem := complaint(ran, 1, 2):
        return problem
    said = ran.err + ran.out
    lines = [line for line in said.splitlines() if "hostile" in line]
    if len(lines) != 1:
        return f"{len(lines)} lines tell it: {said}"[:300]
    return "" if "hostile 1.5" in lines[0] else f"does not name the distribution: {lines[0]}"[:300]


@cache
def _clean() -> str:
    with TemporaryDirectory(prefix="campaign-") as folder:
        return _numbers(None, Path(folder))


def _numbers(site: Site | None, folder: Path) -> str:
    ran = _command(site, folder, "run", digits(folder, "recipe.yaml", **_RECIPE), "--output", "run")
    if problem := complaint(ran, 0):
        return problem
    audits = json.loads((folder / "run" / "result.json").read_text())["audits"]
    return json.dumps([{k: v for k, v in a.items() if k != "seconds"} for a in audits])
