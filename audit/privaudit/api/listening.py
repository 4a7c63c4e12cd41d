"""Those who listen to a run: they hear all that it tells, and can harm neither it nor a number."""

from __future__ import annotations

import inspect
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import pluggy

from privaudit.api import hooks
from privaudit.api.interrupt import TooLong, in_a_line, no_sudden_exit, time_limit
from privaudit.api.world import own_world
from privaudit.errors import PluginError
from privaudit.events import Event, RunDone, RunStopped
from privaudit.messages import plain

logger = logging.getLogger(__name__)

LIMIT = 60.0  # seconds that one event may take
LIMITS: dict[type[Event], float] = {
    RunDone: 300.0,  # nothing waits for it any more
    RunStopped: 10.0,  # somebody waits for the run to end
}
_MUCH = 0.1  # share of a run's time that is told
_SHORT = 5.0  # seconds that are not worth telling


@dataclass(frozen=True)
class Listener:
    """A module that hears what runs tell.

    Attributes:
        distribution: that brings it, or its file's name.
        version: of that distribution.
        where: how messages about it begin.
        module: its name.
        file: of the function that hears.
        hear: the function.
    """

    distribution: str
    version: str
    where: str
    module: str
    file: str
    hear: Callable[[Event], object]


def listener_of(
    manager: pluggy.PluginManager, distribution: str, version: str, where: str
) -> Listener | None:
    """The listener of one module; None where it does not listen.

    Args:
        manager: of the module alone.
        distribution: see `Listener`.
        version: see `Listener`.
        where: see `Listener`.

    Raises:
        PluginError: its body would never run when it is called.
    """
    hook = manager.hook.privaudit_event
    for implementation in hook.get_hookimpls():
        function = implementation.function
        kinds = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
        if any(is_kind(function) for is_kind in kinds):
            raise PluginError(
                f"has {hooks.LISTEN} as a generator or a coroutine, whose body would not run: make "
                "it a plain function, without yield and async"
            )

        def hear(event: Event) -> object:
            return hook(event=event)

        code = getattr(inspect.unwrap(function), "__code__", None)
        return Listener(
            distribution,
            version,
            where,
            implementation.plugin_name,
            "" if code is None else code.co_filename,
            hear,
        )
    return None


class Listening:
    """Calls listeners in turn: a first failure of each is told in one line, and the run goes on.

    Each is given a copy of the event. What it changes in the process, random state among it, is
    put back, and what it prints goes to stderr. One that takes longer than its limit over an event
    is interrupted, and hears no more. Only Ctrl-C and signals that stop a run pass.
    """

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = list(listeners)
        self._failures = dict.fromkeys(range(len(self._listeners)), 0)
        self._seconds = dict.fromkeys(range(len(self._listeners)), 0.0)
        self._lost = dict.fromkeys(range(len(self._listeners)), 0.0)
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Let all hear an event."""
        for number, listener in enumerate(self._listeners):
            if listener.hear is not _deaf:
                began, failures = time.monotonic(), self._failures[number]
                self._call(number, listener, event)
                took = time.monotonic() - began
                self._seconds[number] += took
                if self._failures[number] > failures:
                    self._lose(number, listener, took)

    def close(self) -> None:
        """Tell what the listeners have cost, and what more has failed."""
        for number, listener in enumerate(self._listeners):
            failures, seconds = self._failures[number], self._seconds[number]
            if failures > 1:
                logger.warning("%s: %d events failed", _named(listener), failures)
            if seconds > max(_SHORT, _MUCH * (time.monotonic() - self._began)):
                logger.warning("%s took %.0f s of the run", _named(listener), seconds)

    def _lose(self, number: int, listener: Listener, seconds: float) -> None:
        """Call what fails no more, once it has taken as long as no single event may take."""
        self._lost[number] += seconds
        if self._lost[number] > LIMIT:
            self._listeners[number] = replace(listener, hear=_deaf)
            logger.warning(
                "%s has taken %.0f s over events that failed: it hears no more of this run",
                *(_named(listener), self._lost[number]),
            )

    def _call(self, number: int, listener: Listener, event: Event) -> None:
        limit = LIMITS.get(type(event), LIMIT)
        try:
            with (
                own_world(_named(listener)),
                redirect_stdout(sys.stderr),
                no_sudden_exit(),
                time_limit(limit),
            ):
                listener.hear(replace(event))
        except KeyboardInterrupt:
            raise
        except TooLong:
            self._listeners[number] = replace(listener, hear=_deaf)
            logger.warning(
                "%s takes longer than %.0f s over %s: it is interrupted, hears no more of this "
                "run, and the run goes on",
                *(_named(listener), limit, type(event).__name__),
            )
        except BaseException as error:  # a stranger's code may raise anything
            self._failures[number] += 1
            if self._failures[number] == 1:
                where = f"{type(event).__name__}{_line(error, listener)}"
                logger.warning(
                    "%s fails at %s: %s; the run goes on, and further failures are only counted",
                    *(_named(listener), plain(where), plain(in_a_line(error))),
                )


def _deaf(event: Event) -> None:
    """Hears nothing."""


def _named(listener: Listener) -> str:
    return plain(f"{hooks.LISTEN} of {listener.where}")


def _line(error: BaseException, listener: Listener) -> str:
    """The last line of the listener's file in a traceback, as messages have it."""
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == listener.file
    ]
    return f" ({Path(listener.file).name}:{lines[-1]})" if lines else ""
