"""`privaudit watch`: what a run does, seen from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.complete import runs

if TYPE_CHECKING:
    from privaudit.cli.watching import Ending

_Run = Annotated[
    Path,
    typer.Argument(
        help="A run's folder; it need not be there yet.", autocompletion=runs, show_default=False
    ),
]
_Timeout = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="End where a run has given no sign of life for so long; wait for ever if not given.",
        show_default=False,
    ),
]


def watch(run: _Run, timeout: _Timeout = None) -> None:
    """Follow a run from another terminal: exit 0 when it is complete, 1 where it ended early."""
    from rich.console import Console

    from privaudit.cli.signals import exit_code, stoppable
    from privaudit.cli.watching import Watch

    errors = Console(stderr=True)
    try:
        with stoppable():
            ending = Watch(run, errors, timeout).follow()
    except KeyboardInterrupt as stopped:
        raise typer.Exit(exit_code(stopped)) from None
    _print(ending)


def _print(ending: Ending) -> None:
    """The end of a run, as `privaudit run` has it.

    Raises:
        typer.Exit: it is no good one.
    """
    from rich.console import Console

    from privaudit.messages import plain
    from privaudit.store.failure import lines

    if not ending.complete:
        typer.echo(plain(ending.said), err=True)
        raise typer.Exit(1)
    from privaudit.report import print_table
    from privaudit.store.result import load_run

    result = load_run(ending.folder)
    print_table([result], Console())
    for line in lines(result.failures):
        typer.echo(plain(line), err=True)
    if result.failures:
        raise typer.Exit(1)
