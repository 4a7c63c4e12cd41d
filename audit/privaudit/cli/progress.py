"""What a person sees while a run works: one moving line, and a line for all that is done."""

from __future__ import annotations

from math import isnan
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from privaudit.events import (
    AttackDone,
    EpochDone,
    Event,
    FitStarted,
    LevelReached,
    SubjectStarted,
)
from privaudit.report.escape import plain


class Progress:
    """Shows events; where stderr is not a terminal, one line a level."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, detail="")
        self._subject = ""

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case SubjectStarted():
                self._subject = plain(event.subject)
                self._show(f"[{event.number}/{event.subjects}] {self._subject}")
            case FitStarted():
                work = (event.models - event.found) * event.epochs
                self._bar.reset(self._task, total=max(1, work), detail="")
                if event.found == event.models:
                    self._bar.update(self._task, completed=1, detail="trained before")
            case EpochDone():
                self._bar.update(self._task, advance=event.models, detail=_numbers(event))
            case LevelReached():
                level = plain(f"{self._subject} {event.level}".strip())
                self._console.print(
                    f"{level}: {event.density:.2%} of the weights, attacking",
                    markup=False,
                    highlight=False,
                )
                self._bar.update(self._task, detail="attacking")
            case AttackDone():
                self._console.print(
                    f"    {plain(event.attack)}: AUC {event.auc:.3f}",
                    markup=False,
                    highlight=False,
                    style="dim",
                )

    def _show(self, what: str) -> None:
        self._bar.update(self._task, description=what)


def _numbers(event: EpochDone) -> str:
    validation = "" if isnan(event.validation) else f", validation {event.validation:.1%}"
    return (
        f"epoch {event.epoch}/{event.epochs}  loss {event.loss:.3f}, "
        f"training {event.accuracy:.1%}{validation}"
    )
