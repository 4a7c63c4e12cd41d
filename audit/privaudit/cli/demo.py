"""`privaudit demo`: one audit from training to a page, with nothing to write first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.logs import attach_logging
from privaudit.cli.options import CacheFolder, Device, Processes
from privaudit.cli.work import loaded, performed, until_stopped

if TYPE_CHECKING:
    from privaudit.cli.signals import Stop
    from privaudit.store.failure import Failure

_RECIPE = "digits"
_PAGE = "report.html"
_BEFORE = (
    f"Networks learn handwritten digits, dense and sparse ones; then attacks try to tell which "
    f"digits they have seen (recipe {_RECIPE}; about a minute)."
)

_Output = Annotated[Path, typer.Option(help="The run's folder, where the page is written, too.")]


def demo(
    context: typer.Context,
    output: _Output = Path("runs/demo"),
    device: Device = "auto",
    cache: CacheFolder = None,
    processes: Processes = None,
) -> None:
    """Audit small networks on handwritten digits, in about a minute and without a download."""
    from rich.console import Console

    errors = Console(stderr=True)
    attach_logging(errors)

    def work(stop: Stop) -> Sequence[Failure]:
        recipe = loaded(_RECIPE, (), (), processes)
        errors.print(_BEFORE, soft_wrap=True, highlight=False, markup=False)
        result = performed(
            recipe, stop, errors, output=output, device=device, cache=cache, processes=processes
        )
        from privaudit.page import page
        from privaudit.report import print_verdict
        from privaudit.report.escape import plain
        from privaudit.store.files import write_whole

        path = output / _PAGE
        write_whole(path, page([result]).encode())
        print_verdict([result], Console())
        typer.echo(f"\nThe whole report, to open in a browser: {plain(str(path))}")
        return result.failures

    until_stopped(context, errors, work)
