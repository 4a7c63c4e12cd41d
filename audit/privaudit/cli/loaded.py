"""The finished runs that a command is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from privaudit.store.result import RunResult


def loaded(paths: list[Path]) -> tuple[list[RunResult], bool]:
    """The finished runs, each once, and whether any of the others should have been one.

    Raises:
        StoreError: there is none.
    """
    from privaudit.errors import StoreError, UnfinishedError
    from privaudit.messages import plain
    from privaudit.store.result import load_run

    runs: dict[Path | None, RunResult] = {}
    errors: list[StoreError] = []
    for path in paths:
        try:
            run = load_run(path)
            runs.setdefault(run.folder and run.folder.resolve(), run)
        except StoreError as error:
            errors.append(error)
    for problem in errors if runs else errors[1:]:
        typer.echo(plain(f"left out: {problem}"), err=True)
    if not runs:
        raise errors[0]
    return [*runs.values()], not all(isinstance(problem, UnfinishedError) for problem in errors)
