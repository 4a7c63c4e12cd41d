"""Who is told what a run does: its log, whoever called it, and the plugins that listen."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from privaudit.api.host import Plugins
from privaudit.api.interrupt import in_a_line
from privaudit.api.listening import Listening
from privaudit.events import Event, RunDone, RunOpened, RunStopped
from privaudit.experiment import identity
from privaudit.messages import plain
from privaudit.recipe import Recipe
from privaudit.store.event_log import EventLog
from privaudit.store.result import RunResult

logger = logging.getLogger(__name__)


class Telling:
    """Tells every event to all, one after another.

    Args:
        recipe: of the run.
        folder: of the run.
        on_event: of whoever called.
        plugins: of which some may listen.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        on_event: Callable[[Event], None] | None,
        plugins: Plugins,
    ) -> None:
        self._began = time.monotonic()
        self._recipe, self._folder, self._on_event = recipe, folder, on_event
        self._log: EventLog | None = None
        listeners, problems = plugins.listening()
        for problem in problems:
            logger.warning("%s; the run goes on without it", plain(str(problem)))
        self._listening = Listening(listeners)
        self.heard = on_event is not None or bool(listeners)
        """Whether anybody but the log is told."""

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        if self._log is not None:
            self._log(event)
        if self._on_event is not None:
            self._on_event(event)
        self._listening(event)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Tell that a run begins, and why it ends where it ends before its end."""
        self._log = EventLog(self._folder)
        try:
            self(self._opened(self._log.resumed))
            yield
        except BaseException as error:
            stopped = RunStopped(_reason(error))
            self._log(stopped)
            self._listening(stopped)
            raise
        finally:
            self._log.close()
            self._listening.close()

    def done(self, result: RunResult) -> None:
        """Tell that a run's results are in its folder."""
        self(self._done(result, found=False))

    def found(self, result: RunResult) -> None:
        """Tell listeners of a run that was finished before; whoever called has its result."""
        self._listening(self._opened(resumed=False))
        self._listening(self._done(result, found=True))
        self._listening.close()

    def _opened(self, resumed: bool) -> RunOpened:
        recipe = json.dumps(identity.asked(self._recipe))
        return RunOpened(self._recipe.name, recipe, str(self._folder.absolute()), resumed)

    def _done(self, result: RunResult, found: bool) -> RunDone:
        seconds = round(time.monotonic() - self._began, 1)
        counts = len(result.audits), len(result.failures)
        return RunDone(str(self._folder.absolute()), *counts, seconds, found)


def _reason(error: BaseException) -> str:
    """Why a run ends, in one line; pydantic wraps what is raised in a serialiser."""
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
        return "somebody, or a signal, has stopped it"
    return plain(in_a_line(error))
