"""What a person sees while a run works: one moving line, and a line for all that is done."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from privaudit.cli.planned import duration
from privaudit.events import (
    AttackDone,
    BelievedDone,
    BelievedStarted,
    EpochDone,
    Event,
    FitDone,
    FitStarted,
    LevelReached,
    RunStarted,
    SubjectStarted,
)
from privaudit.report.escape import plain

_A_RUN = 1e9  # seconds over which speed is measured: pauses of attacks belong to it


class _TimeLeft(TimeRemainingColumn):
    """Of the whole run, attacks among it as they went so far; nothing where only they are left."""

    def render(self, task: Task) -> Text:
        return Text() if task.finished else super().render(task)


class Progress:
    """Shows events; where stderr is not a terminal, a line for each fit in place of the bar.

    Both tell how long the whole run may still take, which trainings were found in the cache, and
    what each attack reached once it has finished.

    Args:
        console: where to show.
        clock: seconds at which events happen; if not given, they happen when they are shown.
    """

    def __init__(self, console: Console, clock: Callable[[], float] | None = None) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _TimeLeft(compact=True, table_column=Column(min_width=5, no_wrap=True)),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
            speed_estimate_period=_A_RUN,
            disable=not console.is_terminal,
            get_time=clock,
        )
        self._task = self._bar.add_task("starting", total=None, detail="")
        self._subject = self._believed = self._reached = ""
        self._epochs: tuple[int, ...] = ()  # that remain, by subject
        self._done, self._number = 0, 0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._bar.disable:  # older rich ends even a disabled bar with an empty line
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStarted():
                self._epochs = event.epochs
                if event.found:
                    trainings = _count(event.trainings, "training")
                    self._print(f"{event.found:,} of {trainings} are done: found in the cache")
            case SubjectStarted():
                self._subject = plain(event.subject)
                place = f"[{event.number}/{event.subjects}] {self._subject}"
                self._bar.update(self._task, description=place)
                if event.number > self._number:  # what it shares with an earlier one is done
                    self._number = event.number
                    self._all(self._done + sum(self._epochs[event.number - 1 :]))
            case BelievedStarted():
                self._believed = f"  shadows believed {plain(event.believed)}"
                self._bar.update(self._task, detail="training what an attacker believes")
            case BelievedDone():
                self._believed = ""
                self._bar.update(self._task, detail="attacking")
            case FitStarted():
                found = _found(event)
                self._bar.update(self._task, detail=found)
                if found and not self._console.is_terminal:
                    self._print(f"{self._believed or self._subject}: {found}", "dim")
            case EpochDone():
                self._done += event.models
                self._bar.update(self._task, completed=self._done, detail=_numbers(event))
            case FitDone() if not self._console.is_terminal:
                done = f"{self._believed or self._subject}: {_trained(event)}{self._left()}"
                self._print(done, "dim")
            case LevelReached() if self._believed:
                self._print(": ".join(filter(None, [self._believed, plain(event.level)])), "dim")
            case LevelReached():
                self._reached = level = plain(f"{self._subject} {event.level}".strip())
                self._print(f"{level}: {event.density:.2%} of the weights, attacking")
                self._bar.update(self._task, detail="attacking")
            case AttackDone():
                about = plain(f"{event.subject} {event.level}".strip())
                where = f"{about}, " if event.subject and about != self._reached else ""
                self._print(f"    {where}{plain(event.attack)}: AUC {event.auc:.3f}", "dim")

    def _all(self, epochs: int) -> None:
        if epochs:
            self._bar.update(self._task, total=epochs)

    def _left(self) -> str:
        """How long the whole run may still take, as the bar of a terminal has it."""
        seconds = self._bar.tasks[0].time_remaining
        return f"; about {duration(seconds)} left of the run" if seconds else ""

    def _print(self, line: str, style: str = "") -> None:
        self._console.print(line, markup=False, highlight=False, style=style, soft_wrap=True)


def _trained(event: FitDone) -> str:
    work = f"{_count(event.models, 'network')}, {_count(event.epochs, 'epoch')}"
    numbers = "" if isnan(event.accuracy) else f"; {_quality(event)}"
    return f"{work}, {event.seconds:,.1f} s{numbers}"


def _found(event: FitStarted) -> str:
    """Which networks need not be trained; empty where all do."""
    if not event.found:
        return ""
    if event.found == event.models:
        return f"{_count(event.models, 'network')} found in the cache"
    return f"{event.found} of {_count(event.models, 'network')} found in the cache"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _numbers(event: EpochDone) -> str:
    return f"epoch {event.epoch}/{event.epochs}  {_quality(event)}"


def _quality(event: EpochDone | FitDone) -> str:
    validation = "" if isnan(event.validation) else f", validation {event.validation:.1%}"
    return f"loss {event.loss:.3f}, training {event.accuracy:.1%}{validation}"
