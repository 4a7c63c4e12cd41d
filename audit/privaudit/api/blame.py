"""Whose code an error came from: the plugin, its hook, and the line its author wrote."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from torch import nn

from privaudit.api.contract import kind_of, name_of
from privaudit.api.entry_points import brought_by
from privaudit.api.plugin import Plugin
from privaudit.version import __version__

_ENGINE = (
    "privaudit"  # the top-level package of the engine; that of the built-in plugins is another
)

Guest = Plugin | type[Plugin]


@dataclass(frozen=True)
class Blame:
    """Where in an author's code something went wrong.

    Attributes:
        plugin: whose code it is.
        hook: the method that the engine had called.
        file: the author's; empty where it is not known.
        line: in that file, from 1; 0 where it is not known.
        callers: the lines of the author's code that had called it, innermost first.
    """

    plugin: Guest
    hook: str
    file: str = ""
    line: int = 0
    callers: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The line itself."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def place(self) -> str:
        """Plugin, hook, file and line, as a message begins.

        The file is told from the current folder where it lies in it.
        """
        cls = self.plugin if isinstance(self.plugin, type) else type(self.plugin)
        name = name_of(cls) if isinstance(self.plugin, type) else self.plugin.name
        where = ""
        if self.file:
            path, here = Path(self.file), Path.cwd()
            shown = path.relative_to(here) if path.is_relative_to(here) else path
            where = f" ({shown}:{self.line})" if self.line else f" ({shown})"
        return f"{cls.kind} {name!r} of {origin(cls)}: {self.hook}{where}"


def origin(cls: type[Plugin]) -> str:
    """Distribution and version that bring a plugin; its file's name where none does."""
    module = cls.__module__
    top = _top(module)
    if top == _ENGINE:
        return f"{_ENGINE} {__version__}"
    brought = brought_by(lambda name: name == module) or brought_by(lambda name: _top(name) == top)
    if brought is not None:
        return " ".join(brought).strip()
    return Path(_file(cls)).name or module


def definition(plugin: Plugin, hook: str) -> Blame:
    """Where an author has written a hook, for what it returns: no frame is left to blame."""
    method = getattr(type(plugin), hook, None)
    code = getattr(inspect.unwrap(method), "__code__", None) if callable(method) else None
    if code is None or _top(getattr(method, "__module__", "")) == _ENGINE:
        return Blame(plugin, hook, _file(type(plugin)))
    return Blame(plugin, hook, code.co_filename, code.co_firstlineno)


def find_blame(error: BaseException, plugins: Sequence[Plugin]) -> Blame | None:
    """The deepest frame of an error's traceback that belongs to one of the plugins.

    A frame belongs to a plugin if its code lies in the file, or in the top-level package, that
    defines the plugin's class or a base of it below privaudit's own kinds.

    Returns:
        None where no frame does.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    plugins = [inner for plugin in plugins for inner in _with_nested(plugin)]
    packages = {package for plugin in plugins for package in _packages(plugin)}
    deepest = max((i for i, (f, _) in enumerate(frames) if _package(f) in packages), default=None)
    if deepest is None:
        return None
    # Only what the engine called last: further out are the hooks in whose midst it was called.
    engine = (i for i in range(deepest, -1, -1) if _package(frames[i][0]) == _ENGINE)
    called = [frame for frame, _ in frames[next(engine, -1) + 1 : deepest + 1]]
    plugin = _owner(called, plugins)
    frame, line = frames[deepest]
    hook = _hook(called, [frame for frame, _ in frames], plugin)
    callers = tuple(
        linecache.getline(f.f_code.co_filename, number).strip()
        for f, number in reversed(frames[:deepest])
        if _package(f) in packages
    )
    return Blame(plugin, hook, frame.f_code.co_filename, line, callers)


def raised_by_engine(error: BaseException, package: str | tuple[str, ...]) -> bool:
    """Whether an error was raised in a package of the engine itself, such as `privaudit.cohort`.

    Args:
        error: with its traceback.
        package: or several.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and _module(frames[-1][0]).startswith(package)


def plugins_in(error: BaseException) -> Iterator[Plugin]:
    """The plugins whose methods an error went through, outermost first."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(holder := _holder(frame), Plugin):
            yield holder


def _owner(called: list[FrameType], plugins: Sequence[Plugin]) -> Plugin:
    """The plugin among several, perhaps of one package, to which frames belong, deepest last."""
    for frame in reversed(called):
        for plugin in plugins:
            if type(_holder(frame)) is type(plugin):
                return plugin
    deepest = called[-1]
    near = [plugin for plugin in plugins if _package(deepest) in _packages(plugin)]
    if isinstance(_holder(deepest), nn.Module):
        near.sort(key=lambda plugin: plugin.kind != "model")
    near.sort(key=lambda plugin: deepest.f_code.co_filename != _file(type(plugin)))
    return near[0]


def _hook(called: list[FrameType], frames: list[FrameType], plugin: Plugin) -> str:
    """The outermost hook of a plugin among the frames called last, or else the last before them."""
    hooks = {n for n, v in vars(kind_of(type(plugin))).items() if inspect.isfunction(v)}

    def names(some: list[FrameType]) -> list[str]:
        mine = [frame for frame in some if type(_holder(frame)) is type(plugin)]
        return [f.f_code.co_name for f in mine if f.f_code.co_name in hooks]

    inner, outer = names(called), names(frames)
    if inner:
        return inner[0]
    return outer[-1] if outer else called[-1].f_code.co_qualname


def _with_nested(plugin: Plugin) -> Iterator[Plugin]:
    """A plugin and those among its options."""
    yield plugin
    for _, value in plugin:
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, Plugin):
                yield from _with_nested(inner)


def _packages(plugin: Plugin) -> set[str]:
    """Top-level packages, or modules, that hold a plugin's class and its bases."""
    bases = (base for base in type(plugin).__mro__ if issubclass(base, Plugin))
    return {_top(base.__module__) for base in bases} - {_ENGINE}


def _holder(frame: FrameType) -> object:
    """The first argument of the function of a frame: `self` of a method."""
    code = frame.f_code
    return frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _package(frame: FrameType) -> str:
    return _top(_module(frame))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _file(cls: type) -> str:
    return os.fspath(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
