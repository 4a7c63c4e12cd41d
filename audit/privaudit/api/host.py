"""Finds the installed plugins, each entry point on its own, and those of single files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from privaudit.api import hooks
from privaudit.api.plugin import KINDS, Plugin
from privaudit.api.provided import LoadError as LoadError
from privaudit.api.provided import Provided as Provided
from privaudit.api.provided import provided_by
from privaudit.api.single_file import OneFile
from privaudit.errors import PluginError


@dataclass(frozen=True)
class Plugins:
    """The installed plugins.

    Attributes:
        provided: those that can be used, by kind and name.
        problems: those that cannot, and why.
        files: from which plugins without packaging were loaded.
    """

    provided: tuple[Provided, ...]
    problems: tuple[LoadError, ...]
    files: tuple[OneFile, ...] = ()

    def with_files(self, files: Iterable[str | Path]) -> Plugins:
        """These plugins, and those of files without packaging, each loaded once.

        Args:
            files: relative to the current folder.

        Raises:
            PluginError: a file cannot be used; unlike an installed plugin, somebody asked for it.
        """
        result = self
        for path in files:
            file = OneFile.read(path)
            if file not in result.files:
                result = result._with(file)
        return result

    def _with(self, file: OneFile) -> Plugins:
        results = list(provided_by(file.path.name, "", str(file.path), file.load))
        for result in results:
            if isinstance(result, LoadError):
                raise result
        new = [result for result in results if isinstance(result, Provided)]
        provided, clashes = _sorted([*self.provided, *new])
        return Plugins(provided, (*self.problems, *clashes), (*self.files, file))

    def of(self, kind: str) -> dict[str, type[Plugin]]:
        """The plugins of a kind by name."""
        return {each.name: each.cls for each in self.provided if each.kind == kind}

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The plugin of a kind that has this name.

        Raises:
            PluginError: there is none, or the one that was meant cannot be used.
        """
        known = self.of(kind)
        if name in known:
            return known[name]
        for problem in self.problems:
            if problem.name == name and problem.kind in ("", kind):
                raise PluginError(f"{kind} {name!r} cannot be used: {problem}")
        raise PluginError(f"no {kind} is called {name!r}: {_suggestion(name, known)}")

    def named(self, name: str) -> tuple[Provided, ...]:
        """The plugins of any kind that have this name.

        Raises:
            PluginError: there is none, or the one that was meant cannot be used.
        """
        found = tuple(each for each in self.provided if each.name == name)
        if found:
            return found
        for problem in self.problems:
            if problem.name == name:
                raise problem
        known = {each.name for each in self.provided}
        raise PluginError(f"no plugin is called {name!r}: {_suggestion(name, known)}")

    def provider(self, cls: type[Plugin]) -> Provided:
        """Where a plugin class comes from.

        Raises:
            PluginError: no installed distribution provides it.
        """
        for each in self.provided:
            if each.cls is cls:
                return each
        raise PluginError(
            f"{cls.__module__}.{cls.__qualname__} is not provided by an installed plugin: "
            "name its module in an entry point of group 'privaudit', or its file in `plugins`"
        )


def load_plugins(
    *,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
    files: Iterable[str | Path] = (),
) -> Plugins:
    """Load every plugin on its own, so that a broken one that is installed stops nothing.

    Args:
        entry_points: what to load; by default, the installed ones of group `privaudit`.
        files: Python files of plugins without packaging, relative to the current folder.

    Raises:
        PluginError: one of the files cannot be used.
    """
    if entry_points is None:
        entry_points = metadata.entry_points(group=hooks.GROUP)
    ordered = sorted(entry_points, key=lambda each: (_origin(each), each.name))
    results = [result for entry_point in ordered for result in _load(entry_point)]
    provided = [result for result in results if isinstance(result, Provided)]
    problems = [result for result in results if isinstance(result, LoadError)]
    kept, clashes = _sorted(provided)
    return Plugins(kept, (*problems, *clashes)).with_files(files)


def _sorted(provided: list[Provided]) -> tuple[tuple[Provided, ...], tuple[LoadError, ...]]:
    """Plugins by kind and name, and one error for each name that several claim."""
    clashes = tuple(_clashes(provided))
    gone = {(clash.kind, clash.name) for clash in clashes}
    kept = [each for each in provided if (each.kind, each.name) not in gone]
    order = [kind.kind for kind in KINDS]
    kept.sort(key=lambda each: (order.index(each.kind), each.name))
    return tuple(kept), clashes


def _load(entry_point: metadata.EntryPoint) -> Iterator[Provided | LoadError]:
    """What one entry point provides, class by class."""
    distribution, version = _origin(entry_point)
    where = f"plugin {entry_point.name!r} of {f'{distribution} {version}'.strip()}"
    yield from provided_by(distribution, version, where, entry_point.load, entry_point.name)


def _clashes(provided: list[Provided]) -> Iterator[LoadError]:
    """One error for each name that several plugins of a kind claim."""
    claims: dict[tuple[str, str], list[Provided]] = {}
    for each in provided:
        claims.setdefault((each.kind, each.name), []).append(each)
    for (kind, name), claimants in claims.items():
        if len(claimants) > 1:
            who = " and by ".join(
                f"{each.distribution} {each.version}".strip()
                + f" ({each.cls.__module__}.{each.cls.__qualname__})"
                for each in claimants
            )
            yield LoadError(
                f"{kind} {name!r} is provided by {who}: uninstall or rename one", name, kind
            )


def _origin(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    """Distribution and version; the module's name where there is no distribution."""
    if entry_point.dist is None:
        return entry_point.value.partition(":")[0], ""
    return _named(entry_point.dist)


@lru_cache(maxsize=64)  # each look parses the distribution's metadata anew
def _named(distribution: metadata.Distribution) -> tuple[str, str]:
    return distribution.name, distribution.version


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(sorted(known)) or 'none installed'}"
