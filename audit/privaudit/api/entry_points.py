"""The entry points that installed distributions declare: metadata alone, nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from importlib import metadata

from privaudit.api import hooks
from privaudit.api.interrupt import in_a_line
from privaudit.api.provided import LoadError
from privaudit.messages import show

OURS = "privaudit"


def entry_points() -> tuple[list[metadata.EntryPoint], list[LoadError]]:
    """Those of group `privaudit`, and an error for each distribution that cannot be read.

    Of several distributions of one name the first on the path counts, as for imports.
    """
    found: list[metadata.EntryPoint] = []
    problems: list[LoadError] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        name = _file_name(distribution)
        if name in seen:
            continue
        seen.add(name)
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if hooks.GROUP not in text:
                continue
            for entry_point in distribution.entry_points.select(group=hooks.GROUP):
                if entry_point.pattern.match(entry_point.value):
                    found.append(entry_point)
                else:
                    message = f"{where(entry_point)} names no module: {show(entry_point.value)}"
                    problems.append(LoadError(message, entry_point.name))
        except Exception as error:  # whatever a parser raises on what is no metadata
            problems.append(
                LoadError(f"the entry points of {name} cannot be read: {in_a_line(error)}", name)
            )
    return found, problems


def brought_by(is_meant: Callable[[str], bool]) -> tuple[str, str] | None:
    """Name and version of the first distribution with an entry point to a module that is meant."""
    for entry_point in entry_points()[0]:
        if entry_point.dist is not None and is_meant(entry_point.module):
            return origin(entry_point)
    return None


def in_order(found: Iterable[metadata.EntryPoint]) -> list[metadata.EntryPoint]:
    """By distribution and name, strangers' last."""

    def place(entry_point: metadata.EntryPoint) -> tuple[bool, tuple[str, str], str]:
        return not is_ours(entry_point), origin(entry_point), entry_point.name

    return sorted(found, key=place)


def is_ours(entry_point: metadata.EntryPoint) -> bool:
    """Whether it is a built-in plugin's, and so is called what the plugin is called."""
    return origin(entry_point)[0] == OURS


def origin(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    """Distribution and version; the module's name where there is no distribution."""
    if entry_point.dist is None:
        return entry_point.value.partition(":")[0], ""
    return _named(entry_point.dist)


def where(entry_point: metadata.EntryPoint) -> str:
    """How messages about it begin."""
    distribution, version = origin(entry_point)
    return f"plugin {entry_point.name!r} of {f'{distribution} {version}'.strip()}"


@lru_cache(maxsize=64)  # each look parses the distribution's metadata anew
def _named(distribution: metadata.Distribution) -> tuple[str, str]:
    name = version = ""
    with suppress(Exception):  # without METADATA, or with one that is broken
        name, version = distribution.name or "", distribution.version or ""
    return name or _file_name(distribution), version


def _file_name(distribution: metadata.Distribution) -> str:
    """What a distribution's folder calls it, normalised; reading its metadata takes far longer."""
    stem = getattr(getattr(distribution, "_path", None), "name", "")
    name = re.sub(r"\.(dist|egg)-info$", "", stem).partition("-")[0]
    if not name:
        with suppress(Exception):
            name = distribution.name or ""
    return re.sub(r"[-_.]+", "-", name).lower() or f"a distribution at {id(distribution)}"
