"""Follows a run by its log and its lock, and tells how it ended, or why that cannot be told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from privaudit.cli.planned import duration
from privaudit.cli.progress import Progress
from privaudit.errors import StoreError
from privaudit.events import (
    EpochDone,
    FitStarted,
    LevelReached,
    RunDone,
    RunOpened,
    RunStopped,
    SubjectStarted,
)
from privaudit.messages import plain
from privaudit.store.event_log import NAME
from privaudit.store.event_reading import EventReader, Told, last_attempt
from privaudit.store.lock import Holder, holder
from privaudit.store.record import RESULT

_PAUSE = 0.5  # seconds between two looks; the log has an epoch a second at most
_AGAIN = "; `privaudit run` with the same recipe goes on where it stopped"


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        folder: of the run.
        complete: whether its results are there.
        said: how it ended where they are not.
    """

    folder: Path
    complete: bool
    said: str = ""


class Watch:
    """One run, watched until it ends.

    Args:
        folder: of the run, or its result.json.
        errors: where progress is shown.
        timeout: seconds without a sign of life after which nobody waits any longer.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        folder: Path,
        errors: Console,
        timeout: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder.parent if folder.name in (RESULT, NAME) else folder
        self._errors, self._timeout, self._sleep = errors, timeout, sleep
        self._reader = EventReader(self._folder)
        self._earlier: list[Told] = []  # the attempt that was there before anybody looked
        self._story: list[Told] = []  # of the present attempt
        self._trained, self._time = 0, 0.0
        self._said: set[str] = set()
        self._sign = time.monotonic()

    def follow(self) -> Ending:
        """Show what happens until the run has ended.

        Raises:
            StoreError: its log cannot be read, or there is something else than a folder.
        """
        if os.path.lexists(self._folder) and not self._folder.is_dir():
            raise StoreError(f"{self._folder} is no folder: name that of a run")
        ending = self._ending()
        if self._reader.damaged:
            self._say("damaged", f"has {self._reader.damaged} lines in {NAME} that cannot be read")
        return ending

    def _ending(self) -> Ending:
        held = holder(self._folder)
        at_work = held is not None and held.alive is not False
        new = self._earlier = last_attempt(self._reader.new())
        if not at_work and (ending := self._over_before()):
            return ending
        if at_work and new and isinstance(new[-1].event, RunDone | RunStopped):
            new = []  # another attempt is about to begin
        with Progress(self._errors, lambda: self._time) as progress:
            while True:
                for told in new:
                    if ending := self._shown(told, progress):
                        return ending
                # Who holds the lock is asked first: what was told until then is read after it.
                held = holder(self._folder)
                new = self._reader.new()
                if new:
                    self._sign = time.monotonic()
                elif ending := self._waited(held):
                    return ending
                else:
                    self._sleep(_PAUSE)

    def _over_before(self) -> Ending | None:
        """The end of a run that was finished before anybody looked; nobody works in its folder."""
        told = isinstance(self._earlier[-1].event, RunDone) if self._earlier else False
        older = not self._earlier and os.path.lexists(self._folder / RESULT)  # than logs
        return Ending(self._folder, True) if told or older else None

    def _shown(self, told: Told, progress: Progress) -> Ending | None:
        event = told.event
        if isinstance(event, RunOpened):
            self._story, self._trained = [], 0
            if event.resumed:
                self._say("resumed", "goes on where it was stopped before")
        self._story.append(told)
        self._time = told.time.timestamp()
        if isinstance(event, EpochDone):  # those that are not in the log count, too
            since = max(0, told.trained - self._trained)
            self._trained, event = told.trained, replace(event, models=since)
        progress(event)
        if isinstance(event, RunDone):
            return Ending(self._folder, True)
        if isinstance(event, RunStopped):
            said = f"{self._folder} was stopped{self._place()}: {event.reason}{_AGAIN}"
            return Ending(self._folder, False, said)
        return None

    def _waited(self, held: Holder | None) -> Ending | None:
        """How the run has ended without a word; None where it may go on."""
        begun = bool(self._story)
        if held is None and begun:
            return self._died("nobody works in its folder any more")
        at_work = held is not None and held.alive is not False
        if not at_work and not begun and (ending := self._over_before()):
            return ending  # whoever was at work has found the run finished
        if held is None:
            self._say("waiting", "has not begun; waiting for it")
        elif held.alive is False:
            if begun:
                return self._died(f"its {held.who} is gone")
            self._say("left", f"was left by {held.who}, which is gone; waiting for another run")
        elif held.alive is None:
            self._say(
                "untold",
                f"cannot be told whether it still runs, because its {held.who} has given no sign "
                f"of life for {duration(held.quiet)}, and {held.why}; waiting for one",
            )
        else:
            self._sign = max(self._sign, time.monotonic() - held.quiet)
            self._said.discard("untold")
            if not begun:
                self._say("ready", f"is being made ready by {held.who}")
        if self._timeout is not None and time.monotonic() - self._sign >= self._timeout:
            said = f"{self._folder}: no sign of life for {duration(self._timeout)}"
            if begun:
                said += f"{self._last()}; whether it still runs cannot be told{self._place()}"
            return Ending(self._folder, False, said)
        return None

    def _died(self, how: str) -> Ending:
        said = f"{self._folder} has ended without a word{self._place()}: {how}{self._last()}"
        return Ending(self._folder, False, said + _AGAIN)

    def _last(self) -> str:
        """When the run has last told something."""
        if not self._story:
            return ""
        when = self._story[-1].time
        ago = duration(max(0.0, time.time() - when.timestamp()))
        return f"; the last it told was {ago} ago, at {when.astimezone():%F %T}"

    def _place(self) -> str:
        """Where in the run its last event is."""
        parts = list[str]()
        for told in self._story:
            match told.event:
                case SubjectStarted(subject, number, subjects):
                    parts = [f"{subject!r} ({number} of {subjects})"]
                case FitStarted():
                    parts = [*parts[:1], "in training"]
                case EpochDone(_, epoch, epochs):
                    parts = [*parts[:1], f"in epoch {epoch} of {epochs}"]
                case LevelReached(level):
                    parts = [*parts[:1], f"after {level!r}" if level else "after its training"]
        return f" at {', '.join(parts)}" if parts else ""

    def _say(self, key: str, what: str) -> None:
        """Say something about the run, once."""
        if key not in self._said:
            self._said.add(key)
            said = plain(f"{self._folder} {what}")
            self._errors.print(said, markup=False, highlight=False, style="dim", soft_wrap=True)
