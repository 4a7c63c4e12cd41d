"""The plugins of installed distributions, each imported when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint

from privaudit.api.declared import Declared, declared, may_listen
from privaudit.api.entry_points import in_order, is_ours, origin, where
from privaudit.api.listening import Listener
from privaudit.api.probe import deadly
from privaudit.api.provided import LoadError, Provided, provided_by
from privaudit.api.world import own_world
from privaudit.errors import PluginError


class Installed:
    """What is installed, of which only what was asked for has been imported.

    An entry point is called what its plugin is called. Where it is not, or provides several, the
    plugin is found by what its module's source declares; a stranger's module that declares
    nothing plainly is imported only where a name is found nowhere else.

    Args:
        entry_points: in any order.
        problems: what is known to be broken.
        tried_first: whether what nobody has named is first imported in another process.
    """

    def __init__(
        self,
        entry_points: Iterable[EntryPoint] = (),
        problems: Iterable[LoadError] = (),
        *,
        tried_first: bool = False,
    ) -> None:
        self._tried_first = tried_first
        self.provided: list[Provided] = []
        self.listeners: list[Listener] = []
        self.problems = list(problems)
        self._entry_points = in_order(entry_points)
        self._waiting = list(self._entry_points)
        self._of: dict[EntryPoint, list[Provided]] = {}
        self._clashing: set[tuple[str, str]] = set()

    def load_called(self, kind: str, name: str) -> None:
        """Import what is called so, unless several distributions call theirs so.

        Args:
            kind: of plugin; "" for any.
            name: of the entry point.
        """
        claimants = [
            entry_point
            for entry_point in self._entry_points
            if entry_point.name == name and self._may_provide(entry_point, kind, name)
        ]
        if kind and len({origin(entry_point) for entry_point in claimants}) > 1:
            self._clash(kind, name, claimants)
        else:
            for entry_point in claimants:
                self._load(entry_point)

    def load_elsewhere(self, kind: str, name: str) -> None:
        """Import what may provide a plugin under another entry point's name.

        Args:
            kind: of plugin; "" for any.
            name: of the plugin.
        """
        self._load_those([e for e in self._waiting if self._may_provide(e, kind, name)])

    def load_module(self, module: str) -> None:
        """Import the entry points that name a module."""
        for entry_point in list(self._waiting):
            if entry_point.value == module:
                self._load(entry_point)

    def load_listening(self) -> list[LoadError]:
        """Import what names the hook of listeners in its source; what of it cannot be used."""
        before = len(self.problems)
        for entry_point in list(self._waiting):
            if may_listen(entry_point):
                self._load(entry_point)
        return self.problems[before:]

    def load_all(self) -> None:
        """Import everything."""
        self._load_those(list(self._waiting))

    def loads(self) -> list[Callable[[], object]]:
        """Imports of what has been imported here of strangers, for a process that unpickles it."""
        return [
            partial(_import, one.value, where(one))
            for one, plugins in self._of.items()
            if plugins and not is_ours(one)
        ]

    def load_untold(self) -> None:
        """Import what its source tells nothing about."""
        self._load_those([one for one, tells in self.waiting() if tells is None])

    def waiting(self) -> Iterator[tuple[EntryPoint, tuple[Declared, ...] | LoadError | None]]:
        """What has not been imported, with what its source declares."""
        for entry_point in list(self._waiting):
            try:
                yield entry_point, declared(entry_point)
            except PluginError as error:
                message = f"{where(entry_point)} cannot be loaded: {error}"
                yield entry_point, LoadError(message, entry_point.name)

    def _may_provide(self, entry_point: EntryPoint, kind: str, name: str) -> bool:
        """Whether what it provides, or declares, or does not tell, may be the plugin."""
        plugins: Iterable[Provided | Declared] | None = self._of.get(entry_point)
        if plugins is None:
            try:
                plugins = declared(entry_point)
            except PluginError:  # told where it is imported: by its own name alone
                return entry_point.name == name
        if plugins is None:
            return True
        if entry_point.name == name and not any(one.name == name for one in plugins):
            return True
        return any(one.name == name and kind in ("", one.kind) for one in plugins)

    def _load_those(self, asked: list[EntryPoint]) -> None:
        """Import what nobody has named, strangers' first where nothing of ours can be lost."""
        strangers = [e for e in asked if not is_ours(e) and e.pattern.match(e.value)]
        dead = deadly(strangers) if self._tried_first else {}
        for entry_point in asked:
            if entry_point in strangers and entry_point.module in dead:
                self._waiting.remove(entry_point)
                reason = f"{entry_point.module} {dead[entry_point.module]}"
                message = f"{where(entry_point)} cannot be loaded: {reason}"
                self.problems.append(LoadError(message, entry_point.name))
            else:
                self._load(entry_point)

    def _load(self, entry_point: EntryPoint) -> None:
        if entry_point not in self._waiting:
            return
        self._waiting.remove(entry_point)
        distribution, version = origin(entry_point)
        results = list(
            provided_by(
                distribution, version, where(entry_point), entry_point.load, entry_point.name
            )
        )
        provided = [result for result in results if isinstance(result, Provided)]
        problems = [result for result in results if isinstance(result, LoadError)]
        if not problems:
            self._of[entry_point] = provided
        self.provided += provided
        self.problems += problems
        self.listeners += [result for result in results if isinstance(result, Listener)]

    def _clash(self, kind: str, name: str, claimants: list[EntryPoint]) -> None:
        if (kind, name) in self._clashing:
            return
        self._clashing.add((kind, name))
        who = " and by ".join(
            f"{' '.join(origin(entry_point)).strip()} ({entry_point.value})"
            for entry_point in claimants
        )
        message = f"{kind} {name!r} is provided by {who}: uninstall or rename one"
        self.problems.append(LoadError(message, name, kind))

    def clashes(self, kind: str, name: str) -> bool:
        """Whether several distributions are known to claim a name."""
        return (kind, name) in self._clashing


def _import(module: str, whose: str) -> None:
    if module not in sys.modules:
        with own_world(whose), redirect_stdout(sys.stderr):
            import_module(module)
