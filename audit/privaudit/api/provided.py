"""What one module provides: plugins that can be used, why others cannot, and who listens to runs.

What pluggy leaves untyped stays in `_manager` and `_classes`; everything else here is typed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import ModuleType

import pluggy

from privaudit.api import hooks
from privaudit.api.contract import check_class, kind_of, name_of
from privaudit.api.interrupt import in_a_line, is_interrupt, no_sudden_exit
from privaudit.api.listening import Listener, listener_of
from privaudit.api.plugin import Plugin
from privaudit.api.source import source_digest
from privaudit.api.world import own_world
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


def provided_by(
    distribution: str, version: str, where: str, load: Callable[[], object], name: str = ""
) -> Iterator[Provided | Listener | LoadError]:
    """What a module provides, class by class, and that it listens to runs, if it does.

    Args:
        distribution: that brings it, or its file's name.
        version: of that distribution.
        where: how messages about it begin.
        load: gives the module.
        name: of its entry point.
    """
    try:
        # What it prints while it is loaded is not the command's answer.
        results: list[Provided | Listener | LoadError]
        with own_world(where), redirect_stdout(sys.stderr), no_sudden_exit():
            results = list(_loaded(distribution, version, where, load, name))
    except PluginError as error:
        text = str(error)
        results = [
            LoadError(
                text if text.startswith(where) else f"{where} {text}", name, original=error.original
            )
        ]
    except BaseException as error:
        # A stranger's code may raise anything; whatever it is, the other plugins go on.
        if is_interrupt(error):
            raise
        results = [LoadError(f"{where} cannot be loaded: {in_a_line(error)}", name)]
    yield from results


def _loaded(
    distribution: str, version: str, where: str, load: Callable[[], object], name: str
) -> Iterator[Provided | Listener | LoadError]:
    manager = _manager(load())
    if listener := listener_of(manager, distribution, version, where):
        yield listener
    for cls in _classes(manager):
        called = name_of(cls)
        try:
            plugin = check_class(cls)
        except PluginError as error:
            yield LoadError(f"{where}: {error}", called or name)
            continue
        yield Provided(
            cls=plugin,
            kind=kind_of(plugin).kind,
            name=str(called),
            distribution=distribution,
            version=version,
            source=source_digest(plugin),
        )


def _manager(module: object) -> pluggy.PluginManager:
    """One module's hooks, in a manager of its own.

    Raises:
        PluginError: it is no module, has no hook, or one that is not of privaudit.
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
            f"has the unknown hook {unknown!r}: the hooks of a module are 'privaudit_provide' and "
            f"{hooks.LISTEN!r}"
        ) from error
    if not manager.get_hookcallers(module):
        raise PluginError(
            "has no function privaudit_provide marked @privaudit.hookimpl, nor one called "
            f"{hooks.LISTEN}"
        )
    return manager


def _classes(manager: pluggy.PluginManager) -> list[object]:
    """The classes that the module provides; none where it only listens.

    Raises:
        PluginError: the answer is not a list.
    """
    hook = manager.hook.privaudit_provide
    if not hook.get_hookimpls():
        return []
    answers: list[object] = hook()
    answer = answers[0] if answers else None  # pluggy drops an answer of None
    if not isinstance(answer, list):
        raise PluginError(f"answers privaudit_provide with {answer!r}, not with a list of classes")
    return answer
