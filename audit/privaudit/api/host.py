"""Finds the installed plugins, each entry point on its own, and those of single files."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from privaudit.api.contract import name_of
from privaudit.api.entry_points import entry_points as find_entry_points
from privaudit.api.installed import Installed
from privaudit.api.listed import Listed, listed
from privaudit.api.listening import Listener
from privaudit.api.plugin import KINDS, Plugin
from privaudit.api.provided import LoadError as LoadError
from privaudit.api.provided import Provided as Provided
from privaudit.api.provided import provided_by
from privaudit.api.single_file import OneFile
from privaudit.errors import PluginError


class Plugins:
    """The plugins that there are, each imported when it is first asked for.

    Args:
        provided: those that are given.
        problems: those that cannot be used.
        files: from which plugins without packaging were loaded.
        installed: those of installed distributions.
        listeners: who hears what runs tell, of the files.
    """

    def __init__(
        self,
        provided: Iterable[Provided] = (),
        problems: Iterable[LoadError] = (),
        files: Iterable[OneFile] = (),
        installed: Installed | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self._given, self._problems = tuple(provided), tuple(problems)
        self.files = tuple(files)
        self._installed = installed or Installed()
        self._listeners = tuple(listeners)

    @property
    def provided(self) -> tuple[Provided, ...]:
        """Those that can be used, by kind and name; all that are installed are imported for it."""
        self._installed.load_all()
        return self._known()[0]

    @property
    def problems(self) -> tuple[LoadError, ...]:
        """Those that cannot be used, and why; all that are installed are imported for it."""
        self._installed.load_all()
        return self.known_problems

    @property
    def known_problems(self) -> tuple[LoadError, ...]:
        """What is wrong with what has been asked for so far; nothing is imported for it."""
        return (*self._problems, *self._installed.problems, *self._known()[1])

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
        given, files = (*self._given, *new), (*self.files, file)
        heard = [result for result in results if isinstance(result, Listener)]
        listeners = (*self._listeners, *heard)
        return Plugins(given, self._problems, files, self._installed, listeners)

    def _known(self) -> tuple[tuple[Provided, ...], tuple[LoadError, ...]]:
        """What has been imported so far, and the names that several of it claim."""
        usable, clashes = _sorted([*self._installed.provided, *self._given])
        told = self._installed.clashes
        return tuple(plugin for plugin in usable if not told(plugin.kind, plugin.name)), clashes

    def of(self, kind: str) -> dict[str, type[Plugin]]:
        """The plugins of a kind by name; all that are installed are imported for it."""
        return {plugin.name: plugin.cls for plugin in self.provided if plugin.kind == kind}

    def find(self, kind: str, name: str) -> type[Plugin] | None:
        """The plugin of a kind that has this name; what cannot be it is not imported."""
        found = self._called(kind, name)
        return found[0].cls if found else None

    def _called(self, kind: str, name: str) -> tuple[Provided, ...]:
        """The plugins of a kind, "" for any, that have this name."""

        def known() -> tuple[Provided, ...]:
            return tuple(
                plugin
                for plugin in self._known()[0]
                if plugin.name == name and kind in ("", plugin.kind)
            )

        self._installed.load_called(kind, name)
        if not known() and not any(self._problem(kind, name)):
            self._installed.load_elsewhere(kind, name)
        return known()

    def _problem(self, kind: str, name: str) -> Iterator[LoadError]:
        """What is known to be wrong with a plugin."""
        for problem in self.known_problems:
            if problem.name == name and (not kind or problem.kind in ("", kind)):
                yield problem

    def names(self, kind: str = "") -> list[str]:
        """The names of a kind, or of all, as far as they are known without importing anything."""
        return sorted({one.name for one in self.listed() if kind in ("", one.kind) and one.kind})

    def listed(self) -> tuple[Listed, ...]:
        """What there is, imported or not; what does not tell its kind has none."""
        found = [Listed.of(plugin) for plugin in self._known()[0]]
        for entry_point, tells in self._installed.waiting():
            if not isinstance(tells, LoadError):
                found += listed(entry_point, tells)
        order = {kind.kind: number for number, kind in enumerate(KINDS)}
        return tuple(sorted(found, key=lambda one: (order.get(one.kind, len(order)), one.name)))

    def loads(self) -> list[Callable[[], object]]:
        """What another process calls first, to have what this one has imported of strangers."""
        return [*(file.load for file in self.files), *self._installed.loads()]

    def load_untold(self) -> None:
        """Import what its source tells nothing about."""
        self._installed.load_untold()

    def listening(self) -> tuple[tuple[Listener, ...], tuple[LoadError, ...]]:
        """Who hears what runs tell, and what would but cannot be used.

        What is installed and names the hook in its source is imported for it.
        """
        problems = self._installed.load_listening()
        by_module = {one.module: one for one in (*self._installed.listeners, *self._listeners)}
        return tuple(by_module.values()), tuple(problems)

    def known_broken(self) -> tuple[LoadError, ...]:
        """What is known to be wrong without importing anything: what has no module, or no Python.

        Beside `known_problems`.
        """
        tells = (tells for _, tells in self._installed.waiting())
        return (*self.known_problems, *(one for one in tells if isinstance(one, LoadError)))

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The plugin of a kind that has this name.

        Raises:
            PluginError: there is none, or the one that was meant cannot be used.
        """
        cls = self.find(kind, name)
        if cls is not None:
            return cls
        for problem in self._problem(kind, name):
            raise PluginError(f"{kind} {name!r} cannot be used: {problem}")
        suggestion = _suggestion(name, self.names(kind))
        raise PluginError(f"no {kind} is called {name!r}: {suggestion}")

    def named(self, name: str) -> tuple[Provided, ...]:
        """The plugins of any kind that have this name.

        Raises:
            PluginError: there is none, or the one that was meant cannot be used.
        """
        plugins = self._called("", name)
        if plugins:
            return plugins
        for problem in self._problem("", name):
            raise problem
        raise PluginError(f"no plugin is called {name!r}: {_suggestion(name, self.names())}")

    def provider(self, cls: type[Plugin]) -> Provided:
        """Where a plugin class comes from.

        Raises:
            PluginError: no installed distribution provides it.
        """
        name = name_of(cls)
        look: tuple[Callable[[], object], ...] = (
            lambda: None,
            lambda: self._installed.load_module(cls.__module__),
            lambda: self._called(cls.kind, name) if name else None,
        )
        for load in look:
            load()
            for plugin in self._known()[0]:
                if plugin.cls is cls:
                    return plugin
        raise PluginError(
            f"{cls.__module__}.{cls.__qualname__} is not provided by an installed plugin: "
            "name its module in an entry point of group 'privaudit', or its file in `plugins`"
        )


def load_plugins(
    *,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
    files: Iterable[str | Path] = (),
) -> Plugins:
    """Find every plugin, each on its own, so that a broken one that is installed stops nothing.

    An installed plugin is imported when it is first asked for by its name, or when all are. Those
    of strangers that nobody has named are first imported in a process of their own, so that one
    that ends its process, or is never done, is known as a problem.

    Args:
        entry_points: what there is; by default, the installed ones of group `privaudit`.
        files: Python files of plugins without packaging, relative to the current folder.

    Raises:
        PluginError: one of the files cannot be used.
    """
    if entry_points is not None:
        installed = Installed(entry_points)
    else:
        installed = Installed(*find_entry_points(), tried_first=True)
    return Plugins(installed=installed).with_files(files)


def _sorted(provided: list[Provided]) -> tuple[tuple[Provided, ...], tuple[LoadError, ...]]:
    """Plugins by kind and name, and one error for each name that several claim."""
    clashes = tuple(_clashes(provided))
    gone = {(clash.kind, clash.name) for clash in clashes}
    usable = [plugin for plugin in provided if (plugin.kind, plugin.name) not in gone]
    order = [kind.kind for kind in KINDS]
    usable.sort(key=lambda plugin: (order.index(plugin.kind), plugin.name))
    return tuple(usable), clashes


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


def _suggestion(name: str, valid_names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, valid_names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(sorted(valid_names)) or 'none installed'}"
