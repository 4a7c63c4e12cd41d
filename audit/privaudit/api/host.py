"""Finds the installed plugins, each entry point on its own.

What pluggy leaves untyped stays in `_ask`; everything else here is typed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from types import ModuleType

import pluggy

from privaudit.api import hooks
from privaudit.api.contract import check_class, kind_of, name_of
from privaudit.api.plugin import KINDS, Plugin
from privaudit.api.source import source_digest
from privaudit.errors import PluginError


class LoadError(PluginError):
    """One plugin that cannot be used.

    Attributes:
        name: what recipes would call it; the entry point's name where its own is not known.
        kind: its kind, or "" where that is not known.
    """

    def __init__(self, message: str, name: str = "", kind: str = "", original: str = "") -> None:
        super().__init__(message, original)
        self.name = name
        self.kind = kind


@dataclass(frozen=True)
class Provided:
    """A plugin that can be used, and where it comes from.

    Attributes:
        cls: the plugin class.
        kind: dataset, model, sparsifier, defense or attack.
        name: what recipes call it.
        distribution: the installed distribution that brings it.
        version: of that distribution.
        source: SHA-256 of its source code, so that changed code is noticed.
    """

    cls: type[Plugin]
    kind: str
    name: str
    distribution: str
    version: str
    source: str

    @property
    def summary(self) -> str:
        """What it does: the first line of its docstring."""
        return (self.cls.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Plugins:
    """The installed plugins.

    Attributes:
        provided: those that can be used, by kind and name.
        problems: those that cannot, and why.
    """

    provided: tuple[Provided, ...]
    problems: tuple[LoadError, ...]

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
            "name its module in an entry point of group 'privaudit'"
        )


def load_plugins(*, entry_points: Iterable[metadata.EntryPoint] | None = None) -> Plugins:
    """Load every plugin on its own, so that a broken one stops nothing.

    Args:
        entry_points: what to load; by default, the installed ones of group `privaudit`.
    """
    if entry_points is None:
        entry_points = metadata.entry_points(group=hooks.GROUP)
    ordered = sorted(entry_points, key=lambda each: (_origin(each), each.name))
    results = [result for entry_point in ordered for result in _load(entry_point)]
    provided = [result for result in results if isinstance(result, Provided)]
    problems = [result for result in results if isinstance(result, LoadError)]
    clashes = list(_clashes(provided))
    gone = {(clash.kind, clash.name) for clash in clashes}
    kept = [each for each in provided if (each.kind, each.name) not in gone]
    order = [kind.kind for kind in KINDS]
    kept.sort(key=lambda each: (order.index(each.kind), each.name))
    return Plugins(tuple(kept), (*problems, *clashes))


def _load(entry_point: metadata.EntryPoint) -> Iterator[Provided | LoadError]:
    """What one entry point provides, class by class."""
    distribution, version = _origin(entry_point)
    where = f"plugin {entry_point.name!r} of {f'{distribution} {version}'.strip()}"
    try:
        classes = _classes(_ask(entry_point.load()))
    except PluginError as error:
        yield LoadError(f"{where} {error}", entry_point.name)
        return
    except (Exception, SystemExit) as error:
        # A stranger's code may raise anything; whatever it is, the other plugins go on.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield LoadError(f"{where} cannot be loaded: {reason}", entry_point.name)
        return
    for cls in classes:
        name = name_of(cls)
        try:
            plugin = check_class(cls)
        except PluginError as error:
            yield LoadError(f"{where}: {error}", name or entry_point.name)
            continue
        yield Provided(
            cls=plugin,
            kind=kind_of(plugin).kind,
            name=str(name),
            distribution=distribution,
            version=version,
            source=source_digest(plugin),
        )


def _ask(module: object) -> list[object]:
    """The answers of one module's hook, asked through a manager of its own.

    Raises:
        PluginError: the module has no hook, or one that is not of privaudit.
    """
    if not isinstance(module, ModuleType):
        raise PluginError(f"is {module!r}: its entry point must name a module")
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(hooks)
    manager.register(module)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = str(error).partition("'")[2].partition("'")[0]
        raise PluginError(
            f"has the unknown hook {unknown!r}: the only hook is 'privaudit_provide'"
        ) from error
    if not manager.hook.privaudit_provide.get_hookimpls():
        raise PluginError("has no function privaudit_provide marked @privaudit.hookimpl")
    answers: list[object] = manager.hook.privaudit_provide()
    return answers


def _classes(answers: list[object]) -> list[object]:
    """The classes of the one answer; pluggy drops an answer of None.

    Raises:
        PluginError: the answer is not a list.
    """
    answer = answers[0] if answers else None
    if not isinstance(answer, list):
        raise PluginError(f"answers privaudit_provide with {answer!r}, not with a list of classes")
    return answer


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
