"""`--set a.b.c=VALUE`: changes to what a recipe says, made before it is validated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from privaudit.messages import Place, show, spell
from privaudit.recipe.build import BELIEFS, LISTS, SINGLE
from privaudit.recipe.document import UnreadableError, parse


class _CannotSetError(Exception):
    """Why one change cannot be made."""


def apply(data: dict[str, Any], changes: Sequence[str]) -> tuple[list[Place], list[str]]:
    """Make changes to plain data, in place and in order.

    Args:
        data: what the file says.
        changes: `training.lr=3e-4`, `attacks.1.rounds=3`, `sparsifiers[0]=imp`; the value is YAML.

    Returns:
        The places that were set, and one line for each change that could not be made.
    """
    places: list[Place] = []
    problems: list[str] = []
    for change in changes:
        text, equals, value = change.partition("=")
        try:
            if not equals:
                raise _CannotSetError("has no '=': write it as --set a.b.c=VALUE")
            changed = deepcopy(data)
            places.append(_set(changed, _keys(text), _value(value)))
            data.update(changed)
        except _CannotSetError as error:
            problems.append(f"--set {text}: {error}")
    return places, problems


def _keys(text: str) -> list[str]:
    keys = re.sub(r"\[(\d+)\]", r".\1", text.strip()).split(".")
    if not all(re.fullmatch(r"[\w-]+", key) for key in keys):
        raise _CannotSetError("is not a path such as training.lr or attacks[1].label")
    return keys


def _value(text: str) -> Any:
    try:
        document = parse(text)
    except UnreadableError as error:
        raise _CannotSetError(f"{show(text)} {error.message}") from error
    if document.mistakes:
        mistake = document.mistakes[0]
        raise _CannotSetError(f"{spell(mistake.path)} is given twice in {show(text)}")
    return document.value


def _set(data: dict[str, Any], keys: list[str], value: Any) -> Place:
    here: Any = data
    path: Place = ()
    for key in keys[:-1]:
        part = _part(here, key, path)
        path = (*path, part)
        if isinstance(here, dict):
            here.setdefault(part, {})
        if isinstance(here[part], str) and _names_a_plugin(path):
            here[part] = {"name": here[part]}
        here = here[part]
    part = _part(here, keys[-1], path)
    here[part] = value
    return (*path, part)


def _part(here: Any, key: str, path: Place) -> str | int:
    """The key, as what it is to the thing it leads into."""
    if isinstance(here, dict):
        if key.isdigit() and path and path[-1] in LISTS:
            raise _CannotSetError(
                f"the recipe has no list of {spell(path)} to change: set all of it"
            )
        return key
    if not isinstance(here, list):
        raise _CannotSetError(f"{spell(path)} is {show(here)}, which has nothing inside to set")
    if not key.isdigit():
        raise _CannotSetError(f"{spell(path)} is a list: write {spell(path)}[0].{key} or the like")
    if int(key) >= len(here):
        entries = "1 entry" if len(here) == 1 else f"{len(here)} entries"
        raise _CannotSetError(f"{spell(path)} has {entries}, counted from 0")
    return int(key)


def _names_a_plugin(path: Place) -> bool:
    """Whether the recipe may name a plugin here alone, without its options."""
    return (
        (len(path) == 1 and path[0] in SINGLE)
        or (len(path) == 2 and path[0] in LISTS)
        or path in (("target", "members"), ("target", "non_members"))
        or path[-1] in BELIEFS
    )
