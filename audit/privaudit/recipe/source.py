"""Where recipes come from: a file, the name of one that ships with privaudit, or plain data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privaudit.errors import PluginError, RecipeError
from privaudit.messages import Place, plain, show, spell, unknown
from privaudit.readers.door import content, exists, expanded, kind, located
from privaudit.readers.file_path import FilePath, paths_in
from privaudit.readers.shipped import shipped_recipes
from privaudit.recipe import overrides as changes
from privaudit.recipe.build import build
from privaudit.recipe.document import MAX_BYTES, Document, UnreadableError, parse
from privaudit.recipe.messages import Mistake
from privaudit.recipe.model import Recipe

if TYPE_CHECKING:
    from privaudit.api.host import Plugins

MAX_MISTAKES = 100  # that are listed
_NEEDS = "a recipe is a mapping with name, dataset, model and attacks"


def load_recipe(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    plugins: Plugins | None = None,
    files: Sequence[str | Path] = (),
) -> Recipe:
    """Read and validate a recipe.

    Args:
        source: a YAML file, the bare name of a recipe that ships with privaudit, or the data
            itself; plugins may stand in it as objects.
        overrides: changes as `--set` takes them, such as `training.epochs=3`.
        plugins: what is installed; found if not given.
        files: Python files of plugins without packaging, relative to the current folder, beside
            those that the recipe names.

    Raises:
        PluginError: one of `files` cannot be used.
        RecipeError: with every mistake, one line each: `FILE:LINE: path: message`.
    """
    if isinstance(source, Mapping):
        label, document, folder = "recipe", Document(_copied(source)), Path.cwd()
    else:
        path = find_recipe(source)
        label, document, folder = str(path), _read(path), _folder(path)
    if plugins is None:
        from privaudit.api.host import load_plugins

        plugins = load_plugins()
    places, problems = changes.apply(document.value, overrides)
    starts = _starts(document.value, folder)
    plugins, unusable = _with_files(document.value, starts, places, files, plugins)
    document.value = _from_here(document.value, places)
    recipe, mistakes = build(document.value, plugins, starts)
    mistakes += document.mistakes + unusable
    if mistakes or problems:
        raise RecipeError(*_lines(label, document, mistakes, places), *map(plain, problems))
    folders = {path.folder for path in paths_in(recipe)}
    return recipe.model_copy(update={"folders": tuple(f for f in starts if f in folders)})


def _folder(path: Path) -> Path:
    """The folder that a recipe's paths start from; a shipped one is its package's, with no data."""
    return Path.cwd() if path in shipped_recipes().values() else path.parent


def _starts(data: Mapping[str, Any], folder: Path) -> list[str]:
    """Where a recipe's relative paths may start, absolutely, the likeliest first."""
    said = data.get("folders", ())
    said = [each for each in said if isinstance(each, str)] if isinstance(said, list) else []
    starts = [*(folder / each for each in said), folder, Path.cwd()]
    return list(dict.fromkeys(str(start.resolve()) for start in starts))


def _from_here(value: Any, places: Sequence[Place], path: Place = ()) -> Any:
    """What a recipe says, where texts that `--set` has set start from the current folder."""
    if isinstance(value, str) and any(path[: len(place)] == place for place in places):
        return FilePath(value, [Path.cwd()])
    if isinstance(value, dict):
        return {key: _from_here(item, places, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_here(item, places, (*path, i)) for i, item in enumerate(value)]
    return value


def find_recipe(source: str | Path) -> Path:
    """The file that a path, or the bare name of a shipped recipe, stands for.

    Raises:
        RecipeError: there is no such file and no such recipe.
    """
    path = Path(source)
    if str(source) != "" and exists(path, RecipeError):
        return path
    shipped = shipped_recipes()
    if str(source) in shipped:
        file = shipped[str(source)]
        here = Path.cwd()
        return file.relative_to(here) if file.is_relative_to(here) else file
    if kind(path, RecipeError) == "folder":
        raise RecipeError(plain(f"{source}: is a folder; name a recipe's file"))
    if path.suffix in (".yaml", ".yml") or os.sep in str(source):
        raise RecipeError(plain(f"{source}: there is no such file"))
    raise RecipeError(plain(unknown("recipe", str(source), shipped)))


def _with_files(
    data: dict[str, Any],
    starts: Sequence[str],
    places: Sequence[Place],
    files: Sequence[str | Path],
    plugins: Plugins,
) -> tuple[Plugins, list[Mistake]]:
    """The plugins with those of a recipe's files, which it names absolutely from now on.

    Args:
        data: what the recipe says; changed, so that it can be run again from anywhere.
        starts: folders, from which its files are named.
        places: what `--set` has set, from the current folder.
        files: more of them, named from the current folder, or else from those of the recipe.
        plugins: what is installed.
    """
    paths, mistakes = data.get("plugins", []), []
    if not isinstance(paths, list):
        return plugins, []  # as is said where all of the recipe is validated
    for index, path in enumerate(paths):
        if isinstance(path, str):
            is_set = ("plugins",) in places or ("plugins", index) in places
            try:
                named = FilePath(path, [Path.cwd()] if is_set else starts)
                paths[index] = str(located(named, PluginError))
                plugins = plugins.with_files([paths[index]])
            except PluginError as error:
                mistakes.append(Mistake(("plugins", index), str(error)))
    for path in files:
        named = FilePath(path, [Path.cwd(), *starts])
        plugins = plugins.with_files([expanded(named, PluginError) if named.folder else path])
        absolute = str(located(named, PluginError))
        if absolute not in paths:
            data["plugins"] = paths = [*paths, absolute]
    return plugins, mistakes


def _copied(value: Any) -> Any:
    """The same dicts and lists anew, with text as keys, as a file would give them."""
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _read(path: Path) -> Document:
    text = content(path, MAX_BYTES, RecipeError, "recipe")
    try:
        document = parse(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
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
    keyed_lines: list[tuple[float, int, str]] = []
    for mistake in mistakes:
        where = f"{spell(mistake.path)}: " if mistake.path else ""
        set_by = [i for i, path in enumerate(places) if mistake.path[: len(path)] == path]
        if set_by:
            keyed_lines.append((inf, set_by[-1], plain(f"--set {where}{mistake.message}")))
            continue
        line = mistake.line or document.line(mistake.path)
        prefix = label if line is None else f"{label}:{line}"
        keyed_lines.append((line or 0, 0, plain(f"{prefix}: {where}{mistake.message}")))
    texts = [text for *_, text in sorted(keyed_lines, key=lambda keyed_line: keyed_line[:2])]
    more = len(texts) - MAX_MISTAKES
    return [*texts[:MAX_MISTAKES], plain(f"{label}: and {more:,} more")] if more > 0 else texts
