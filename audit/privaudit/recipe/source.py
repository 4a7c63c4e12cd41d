"""Where recipes come from: a file, the name of one that ships with privaudit, or plain data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privaudit.errors import RecipeError
from privaudit.messages import Place, plain, show, spell, unknown
from privaudit.recipe import overrides as changes
from privaudit.recipe.build import build
from privaudit.recipe.document import Document, UnreadableError, parse
from privaudit.recipe.messages import Mistake
from privaudit.recipe.model import Recipe

if TYPE_CHECKING:
    from privaudit.api.host import Plugins

MAX_BYTES = 1 << 20
_NEEDS = "a recipe is a mapping with name, dataset, model and attacks"


def load_recipe(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    plugins: Plugins | None = None,
) -> Recipe:
    """Read and validate a recipe.

    Args:
        source: a YAML file, the bare name of a recipe that ships with privaudit, or the data
            itself; plugins may stand in it as objects.
        overrides: changes as `--set` takes them, such as `training.epochs=3`.
        plugins: what is installed; found if not given.

    Raises:
        RecipeError: with every mistake, one line each: `FILE:LINE: path: message`.
    """
    if isinstance(source, Mapping):
        label, document = "recipe", Document(_copied(source))
    else:
        path = find_recipe(source)
        label = str(path)
        document = _read(path)
    if plugins is None:
        from privaudit.api.host import load_plugins

        plugins = load_plugins()
    places, problems = changes.apply(document.value, overrides)
    recipe, mistakes = build(document.value, plugins)
    mistakes += document.mistakes
    if mistakes or problems:
        raise RecipeError(*_lines(label, document, mistakes, places), *map(plain, problems))
    return recipe


def find_recipe(source: str | Path) -> Path:
    """The file that a path, or the bare name of a shipped recipe, stands for.

    Raises:
        RecipeError: there is no such file and no such recipe.
    """
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(source) in shipped:
        file = shipped[str(source)]
        here = Path.cwd()
        return file.relative_to(here) if file.is_relative_to(here) else file
    if path.is_dir():
        raise RecipeError(plain(f"{source}: is a folder; name a recipe's file"))
    if path.suffix in (".yaml", ".yml") or os.sep in str(source):
        raise RecipeError(plain(f"{source}: there is no such file"))
    raise RecipeError(plain(unknown("recipe", str(source), shipped)))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with privaudit, by bare name."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1] / "recipes"
    folder = package / "recipes"
    if not folder.is_dir() and package.parent.name == "audit":
        folder = checkout
    files = sorted(folder.rglob("*.yaml"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def _copied(value: Any) -> Any:
    """The same dicts and lists anew, with text as keys, as a file would give them."""
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _read(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(plain(f"{path}: cannot be read: {error.strerror}")) from error
    if len(content) > MAX_BYTES:
        raise RecipeError(plain(f"{path}: is larger than 1 MiB, which no recipe is"))
    try:
        document = parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(plain(f"{path}:{line}: is not UTF-8 text")) from error
    except UnreadableError as error:
        raise RecipeError(plain(f"{path}:{error.line}: {error.message}")) from error
    if document.value is None:
        raise RecipeError(plain(f"{path}:1: is empty; {_NEEDS}"))
    if not isinstance(document.value, dict):
        line = document.lines[()]
        raise RecipeError(plain(f"{path}:{line}: {_NEEDS} (got {show(document.value)})"))
    return document


def _lines(
    label: str, document: Document, mistakes: list[Mistake], places: list[Place]
) -> list[str]:
    """One line for each mistake: those of the file in its order, then those of `--set`."""
    found: list[tuple[float, int, str]] = []
    for mistake in mistakes:
        where = f"{spell(mistake.path)}: " if mistake.path else ""
        set_by = [i for i, place in enumerate(places) if mistake.path[: len(place)] == place]
        if set_by:
            found.append((inf, set_by[-1], plain(f"--set {where}{mistake.message}")))
            continue
        line = mistake.line or document.line(mistake.path)
        prefix = label if line is None else f"{label}:{line}"
        found.append((line or 0, 0, plain(f"{prefix}: {where}{mistake.message}")))
    return [text for *_, text in sorted(found, key=lambda each: each[:2])]
