"""What `run` and `demo` have in common: a recipe is run, watched and stopped, failures are told."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from privaudit.cli.signals import Stop
    from privaudit.events import Event
    from privaudit.recipe import Recipe
    from privaudit.store.failure import Failure
    from privaudit.store.result import RunResult

logger = logging.getLogger(__name__)


def until_stopped(
    context: typer.Context, errors: Console, work: Callable[[Stop], Sequence[Failure]]
) -> None:
    """Do it; say what failed, or that it was stopped.

    Args:
        context: of the command.
        errors: where people are told.
        work: what there is to do; gives what failed while the rest did not.

    Raises:
        typer.Exit: something failed, or somebody stopped it.
    """
    from privaudit.cli.signals import exit_code, stoppable

    try:
        with stoppable() as stop:
            try:
                failures = work(stop)
            except Exception:  # as pydantic makes of a stop that falls into a serialiser
                stop.check()
                raise
            if failures:
                stop.check()
    except KeyboardInterrupt as stopped:
        errors.print("stopped: trainings that are finished are kept, and the same command goes on")
        raise typer.Exit(exit_code(stopped)) from None
    if failures:
        _tell(failures, getattr(context.obj, "debug", False))
        raise typer.Exit(1)


def loaded(
    recipe: str, changes: Sequence[str], files: Sequence[Path], processes: int | None
) -> Recipe:
    """The recipe, read once this process is set up for work; torch is imported here.

    Raises:
        RecipeError: with every mistake.
    """
    if processes != 1:  # threads that wait shall leave others the processor; torch reads it once
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from privaudit.jobs.memory import keep_freed_memory
    from privaudit.recipe import load_recipe

    keep_freed_memory()
    return load_recipe(recipe, changes, files=files)


def performed(
    recipe: Recipe,
    stop: Stop,
    errors: Console,
    *,
    output: Path | None,
    device: str,
    cache: Path | None,
    processes: int | None,
    memory: float | None = None,
    quiet: bool = False,
) -> RunResult:
    """What a recipe's run found.

    Args:
        recipe: the question.
        stop: whether a signal has come.
        errors: where progress is shown.
        output: as `experiment.running.run` takes it, and so are `device` and `cache`.
        device: see above.
        cache: see above.
        processes: how many of one thread each; None: one for each thread of torch.
        memory: in GiB.
        quiet: show no progress.
    """
    from torch import get_num_threads

    from privaudit.experiment.running import run

    with _progress(errors, quiet) as progress:

        def on_event(event: Event) -> None:
            stop.check()
            logger.debug("%r", event)
            progress(event)

        return run(
            recipe,
            output,
            device=device,
            cache=cache,
            on_event=on_event,
            processes=processes or get_num_threads(),
            memory=None if memory is None else int(memory * 2**30),
        )


@contextmanager
def _progress(console: Console, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """What shows events while a run works."""
    if quiet:
        yield lambda event: None
        return
    from privaudit.cli.progress import Progress

    with Progress(console) as progress:
        yield progress


def _tell(failures: Sequence[Failure], debug: bool) -> None:
    from privaudit.messages import plain
    from privaudit.store.failure import lines

    for line in lines(failures):
        typer.echo(plain(line), err=True)
    for original in dict.fromkeys(failure.original for failure in failures if debug):
        typer.echo(original, err=True)
