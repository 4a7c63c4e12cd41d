"""Finds the installed plugins, each entry point on its own, and those of single files.

A module is imported where somebody names its plugin. An entry point is called as its plugin is, so
that those in question are told from metadata; only for names that no entry point has, and for
lists of everything, all are imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from privaudit.api import hooks
from privaudit.api.plugin import KINDS, Plugin
from privaudit.api.probe import deadly
from privaudit.api.provided import LoadError as LoadError
from privaudit.api.provided import Provided as Provided
from privaudit.api.provided import provided_by
from privaudit.api.single_file import OneFile
from privaudit.api.world import own_world
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
        return {plugin.name: plugin.cls for plugin in self.provided if plugin.kind == kind}

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The plugin of a kind that has this name.

        Raises:
            PluginError: there is none, or the one that was meant cannot be used.
        """
        by_name = self.of(kind)
        if name in by_name:
            return by_name[name]
        for problem in self.problems:
            if problem.name == name and problem.kind in ("", kind):
                raise PluginError(f"{kind} {name!r} cannot be used: {problem}")
        raise PluginError(f"no {kind} is called {name!r}: {_suggestion(name, by_name)}")

    def named(self, name: str) -> tuple[Provided, ...]:
        """The plugins of any kind that have this name.

        Raises:
            PluginError: there is none, or the one that was meant cannot be used.
        """
        plugins = tuple(plugin for plugin in self.provided if plugin.name == name)
        if plugins:
            return plugins
        for problem in self.problems:
            if problem.name == name:
                raise problem
        names = {plugin.name for plugin in self.provided}
        raise PluginError(f"no plugin is called {name!r}: {_suggestion(name, names)}")

    def has(self, cls: type[Plugin]) -> bool:
        """Whether a class is among them."""
        return any(plugin.cls is cls for plugin in self.provided)

    def provider(self, cls: type[Plugin]) -> Provided:
        """Where a plugin class comes from.

        Raises:
            PluginError: no installed distribution provides it.
        """
        for plugin in self.provided:
            if plugin.cls is cls:
                return plugin
        raise PluginError(
            f"{cls.__module__}.{cls.__qualname__} is not provided by an installed plugin: "
            "name its module in an entry point of group 'privaudit', or its file in `plugins`"
        )


def load_plugins(
    *,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
    names: Collection[str] | None = None,
    files: Iterable[str | Path] = (),
) -> Plugins:
    """Load plugins, each on its own, so that a broken one that is installed stops nothing.

    Where all are loaded, those of strangers are first imported in a process of their own, so that
    one that ends its process, or is never done, is known as a problem.

    Args:
        entry_points: what to load; by default, the installed ones of group `privaudit`.
        names: load no more than the entry points of these names.
        files: Python files of plugins without packaging, relative to the current folder.

    Raises:
        PluginError: one of the files cannot be used.
    """
    dead: dict[str, str] = {}
    if entry_points is None:
        entry_points = metadata.entry_points(group=hooks.GROUP)
        if names is None:
            strangers = [e for e in entry_points if _origin(e)[0] != hooks.GROUP]
            dead = deadly(strangers)
    if names is not None:
        entry_points = [e for e in entry_points if e.name in names]
    ordered = sorted(entry_points, key=lambda entry_point: (_origin(entry_point), entry_point.name))
    results = [result for entry_point in ordered for result in _load(entry_point, dead)]
    provided = [result for result in results if isinstance(result, Provided)]
    problems = [result for result in results if isinstance(result, LoadError)]
    usable, clashes = _sorted(provided)
    return Plugins(usable, (*problems, *clashes)).with_files(files)


def _sorted(provided: list[Provided]) -> tuple[tuple[Provided, ...], tuple[LoadError, ...]]:
    """Plugins by kind and name, and one error for each name that several claim."""
    clashes = tuple(_clashes(provided))
    gone = {(clash.kind, clash.name) for clash in clashes}
    usable = [plugin for plugin in provided if (plugin.kind, plugin.name) not in gone]
    order = [kind.kind for kind in KINDS]
    usable.sort(key=lambda plugin: (order.index(plugin.kind), plugin.name))
    return tuple(usable), clashes


def named_plugins(names: Collection[str], *, files: Iterable[str | Path] = ()) -> Plugins:
    """The plugins of these names; all that are installed, where one of them is not found.

    Raises:
        PluginError: one of the files cannot be used.
    """
    few = load_plugins(names=names, files=files)
    there = {plugin.name for plugin in few.provided} | {problem.name for problem in few.problems}
    return few if there.issuperset(names) else load_plugins(files=files)


def _load(
    entry_point: metadata.EntryPoint, dead: Mapping[str, str]
) -> Iterator[Provided | LoadError]:
    """What one entry point provides, class by class.

    Args:
        entry_point: the module's.
        dead: modules that must not be imported, and why.
    """
    distribution, version = _origin(entry_point)
    where = f"plugin {entry_point.name!r} of {f'{distribution} {version}'.strip()}"
    if entry_point.module in dead:
        reason = f"{entry_point.module} {dead[entry_point.module]}"
        yield LoadError(f"{where} cannot be loaded: {reason}", entry_point.name)
        return

    def load() -> object:
        with own_world(where):
            return entry_point.load()

    yield from provided_by(distribution, version, where, load, entry_point.name)


def _clashes(provided: list[Provided]) -> Iterator[LoadError]:
    """One error for each name that several plugins of a kind claim."""
    claims: dict[tuple[str, str], list[Provided]] = {}
    for plugin in provided:
        claims.setdefault((plugin.kind, plugin.name), []).append(plugin)
    for (kind, name), claimants in claims.items():
        if len(claimants) > 1:
            who = " and by ".join(
                f"{plugin.distribution} {plugin.version}".strip()
                + f" ({plugin.cls.__module__}.{plugin.cls.__qualname__})"
                for plugin in claimants
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


def _suggestion(name: str, valid_names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, valid_names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(sorted(valid_names)) or 'none installed'}"
