"""`privaudit run`: from a recipe to a comparison table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.options import PluginFiles, RecipeName

if TYPE_CHECKING:
    from rich.console import Console, Group

    from privaudit.cli.signals import Stop
    from privaudit.events import Event
    from privaudit.recipe import Recipe
    from privaudit.store.failure import Failure

logger = logging.getLogger(__name__)

_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B.C=VALUE", help="Change the recipe first; repeatable."),
]
_Output = Annotated[
    Path | None, typer.Option(help="The run's folder; runs/NAME-HASH if not given.")
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")]
_Cache = Annotated[
    Path | None,
    typer.Option(
        help="Where finished trainings and data are kept; PRIVAUDIT_CACHE or the user's cache "
        "folder if not given."
    ),
]
_Plan = Annotated[
    bool, typer.Option("--dry-run", help="Say what there is to do and how long it may take.")
]
_Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show warnings and the sentences at the end, no more."),
]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show everything that the engine logs, too.")
]


_Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="On a CPU, how many processes of one thread each train; one for each core if not "
        "given.",
        show_default=False,
    ),
]


_Memory = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="GIB",
        help="How much memory may be used; three quarters of what is free if not given.",
        show_default=False,
    ),
]


def run(
    context: typer.Context,
    recipe: RecipeName,
    changes: _Set = None,
    plugin: PluginFiles = None,
    output: _Output = None,
    device: _Device = "auto",
    cache: _Cache = None,
    processes: _Processes = None,
    memory: _Memory = None,
    dry_run: _Plan = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Train, make sparse, attack, and compare; what was done before is not done again."""
    from rich.console import Console

    from privaudit.cli.signals import exit_code, stoppable
    from privaudit.errors import RecipeError

    if quiet and verbose:
        raise RecipeError("--quiet leaves out what --verbose shows: give one of them")
    errors = Console(stderr=True)
    _attach_logging(errors)
    if verbose:
        _log_everything()
    try:
        with stoppable() as stop:
            failures = _run(
                stop,
                errors,
                recipe,
                changes,
                plugin,
                output,
                device,
                cache,
                processes,
                memory,
                dry_run,
                quiet,
            )
    except KeyboardInterrupt as stopped:
        errors.print("stopped: trainings that are finished are kept, and the same command goes on")
        raise typer.Exit(exit_code(stopped)) from None
    if failures:
        _tell(failures, getattr(context.obj, "debug", False))
        raise typer.Exit(1)


def _tell(failures: Sequence[Failure], debug: bool) -> None:
    from privaudit.messages import plain
    from privaudit.store.failure import lines

    for line in lines(failures):
        typer.echo(plain(line), err=True)
    for original in dict.fromkeys(failure.original for failure in failures if debug):
        typer.echo(original, err=True)


def _run(
    stop: Stop,
    errors: Console,
    recipe: str,
    changes: list[str] | None,
    plugin: list[Path] | None,
    output: Path | None,
    device: str,
    cache: Path | None,
    processes: int | None,
    memory: float | None,
    dry_run: bool,
    quiet: bool,
) -> Sequence[Failure]:
    """Do what is asked for; what failed, while the rest did not."""
    from rich.console import Console

    if processes != 1:  # threads that wait shall leave others the processor; torch reads it once
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from privaudit.jobs.memory import keep_freed_memory
    from privaudit.recipe import load_recipe

    keep_freed_memory()
    loaded = load_recipe(recipe, changes or (), files=plugin or ())
    if dry_run:
        with errors.status("going through every script, and timing a few training steps"):
            shown = _plan(loaded, device, cache)
        Console().print(shown)
        return ()
    from torch import get_num_threads

    from privaudit.experiment.running import run as run_recipe
    from privaudit.report import print_table, print_verdict

    with _progress(errors, quiet) as progress:

        def on_event(event: Event) -> None:
            stop.check()
            logger.debug("%r", event)
            progress(event)

        result = run_recipe(
            loaded,
            output,
            device=device,
            cache=cache,
            on_event=on_event,
            processes=processes or get_num_threads(),
            memory=None if memory is None else int(memory * 2**30),
        )
    if quiet:
        print_verdict([result], Console())
        return result.failures
    print_table([result], Console())
    errors.print(f"\n[dim]results in[/] {result.folder}", highlight=False)
    return result.failures


@contextmanager
def _progress(console: Console, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """What shows events while a run works."""
    if quiet:
        yield lambda event: None
        return
    from privaudit.cli.progress import Progress

    with Progress(console) as progress:
        yield progress


def _plan(recipe: Recipe, device: str, cache: Path | None) -> Group:
    from privaudit.cli.planned import plan_table
    from privaudit.experiment.plan import plan
    from privaudit.experiment.running import run_context

    context = run_context(recipe, device=device, cache=cache)
    return plan_table(recipe, plan(context), context)


def _attach_logging(console: Console) -> None:
    from rich.logging import RichHandler

    told: set[str] = set()

    def first_time(record: logging.LogRecord) -> bool:
        """Whether this has not been said yet: every subject may have the same to say."""
        new = record.levelno < logging.WARNING or record.getMessage() not in told
        told.add(record.getMessage())
        return new

    handler = RichHandler(console=console, show_time=False, show_path=False)
    handler.addFilter(first_time)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.captureWarnings(True)


def _log_everything() -> None:
    """Log what the engine tells of its work, with the time and who says it."""
    from rich.logging import RichHandler

    logging.getLogger("privaudit").setLevel(logging.DEBUG)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RichHandler):
            told = logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
            handler.setFormatter(told)
