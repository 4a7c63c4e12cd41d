"""The plugins of installed distributions, each imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint

from privaudit.api.declared import Declared, declared
from privaudit.api.entry_points import in_order, is_ours, origin, where
from privaudit.api.provided import LoadError, Provided, provided_by
from privaudit.errors import PluginError


class Installed:
    """What is installed, of which only what was asked for has been imported.

    An entry point is called what its plugin is called. Where it is not, or provides several, the
    plugin is found by what its module's source declares; a stranger's module that declares
    nothing plainly is imported only where a name is found nowhere else.

    Args:
        entry_points: in any order.
        problems: what is known to be broken.
    """

    def __init__(
        self, entry_points: Iterable[EntryPoint] = (), problems: Iterable[LoadError] = ()
    ) -> None:
        self.provided: list[Provided] = []
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
        for entry_point in list(self._waiting):
            if not is_ours(entry_point) and self._may_provide(entry_point, kind, name):
                self._load(entry_point)

    def load_module(self, module: str) -> None:
        """Import the entry points that name a module."""
        for entry_point in list(self._waiting):
            if entry_point.value == module:
                self._load(entry_point)

    def load_all(self) -> None:
        """Import everything."""
        for entry_point in list(self._waiting):
            self._load(entry_point)

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
        if len(provided) == len(results):
            self._of[entry_point] = provided
        self.provided += provided
        self.problems += [result for result in results if isinstance(result, LoadError)]

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
