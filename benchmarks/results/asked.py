"""What a run was asked: a recipe that ships, and what `--set` changed of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from benchmarks.results.sources import RECIPES, Sources
from privaudit.errors import RecipeError, StoreError
from privaudit.recipe import load_recipe
from privaudit.recipe.document import UnreadableError, parse
from privaudit.recipe.model import without_speed_options
from privaudit.report.leaves import differing, leaves

PLACES = (("dataset", "path"),)
"""Where data lies is no part of a question."""


def question(sources: Sources, name: str) -> str:
    """The question that a recipe opens with."""
    return _text(sources, name).splitlines()[0].removeprefix("#").strip()


def resolved(sources: Sources, name: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe of the repository with every default of today's code written out.

    Options that change speed alone are left out.

    Args:
        sources: of the repository.
        name: of the recipe.
        changes: as `--set` takes them.

    Raises:
        RecipeError: it is wrong, or cannot be changed so.
        StoreError: there is no such recipe.
    """
    try:
        data = parse(_text(sources, name)).value
    except UnreadableError as error:
        raise RecipeError(f"{RECIPES}/{name}.yaml: {error.message}") from error
    recipe = load_recipe(data, list(changes))
    return without_speed_options(recipe.model_dump(mode="json", serialize_as_any=True))


def changes_of(sources: Sources, name: str, asked: Mapping[str, Any]) -> tuple[str, ...]:
    """What `--set` has to say to make a run's recipe of the one that ships.

    Args:
        sources: of the commit that made the run.
        name: of the recipe.
        asked: the run's recipe.

    Raises:
        RecipeError: the recipe that ships is wrong.
        StoreError: there is none of this name, or no such changes make the run's of it.
    """
    shipped = resolved(sources, name)
    wanted = placed(asked, shipped)
    changes = tuple(_changes((), shipped, wanted))
    made = resolved(sources, name, changes)
    if made != wanted:
        paths = [".".join(path) for path in differing([leaves(made), leaves(wanted)])]
        raise StoreError(
            f"the recipe of the run {name} cannot be had from {RECIPES}/{name}.yaml of that commit "
            f"by --set: {', '.join(paths)} differ; name the commit that made it by --commit"
        )
    return changes


def placed(asked: Mapping[str, Any], shipped: Mapping[str, Any]) -> dict[str, Any]:
    """A run's recipe without speed options, its data where the recipe that ships has it."""
    recipe = without_speed_options(asked)
    for *above, key in PLACES:
        here, there = recipe, shipped
        for part in above:
            here, there = here.get(part, {}), there.get(part, {})
        if key in here and key in there and here.get("name") == there.get("name"):
            here[key] = there[key]
    return recipe


def command(name: str, changes: Sequence[str]) -> str:
    """The command line, for a shell."""
    told = [f" --set {_quoted(change)}" for change in changes]
    return f"privaudit run {RECIPES}/{name}.yaml{''.join(told)}"


def recipe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The paths at which two resolved recipes differ."""
    return [".".join(path) for path in differing([leaves(deepcopy(before)), leaves(now)])]


def _text(sources: Sources, name: str) -> str:
    path = f"{RECIPES}/{name}.yaml"
    if path not in sources:
        raise StoreError(f"there is no {path} at that commit: a page is of a recipe that ships")
    return sources[path]


def _changes(path: tuple[str, ...], old: Any, new: Any) -> Iterator[str]:
    """The changed leaves: mappings, and lists of as many, are looked into."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        for key in old:
            yield from _changes((*path, key), old[key], new[key])
    elif _entries(old) and _entries(new) and len(old) == len(new):
        for number, (here, there) in enumerate(zip(old, new, strict=True)):
            yield from _changes((*path, str(number)), here, there)
    else:
        counted = path == ("seeds",) and new == list(range(len(new)))
        yield f"{'.'.join(path)}={json.dumps(len(new) if counted else new)}"


def _entries(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)
    )


def _quoted(change: str) -> str:
    plain = all(char.isalnum() or char in "._=-/:" for char in change)
    return change if plain else f"'{change}'"
