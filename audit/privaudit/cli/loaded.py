"""The finished runs that a command is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from privaudit.store.result import RunResult


@dataclass(frozen=True)
class LeftOut:
    """What was given for a run and is none.

    Attributes:
        path: as it was given.
        problem: what is wrong, and what to do.
        unfinished: whether it may become one yet.
    """

    path: Path
    problem: str
    unfinished: bool


def exit_code(left: Sequence[LeftOut]) -> int:
    """1 where a run is damaged or missing; one that is not finished is none yet."""
    return int(any(not one.unfinished for one in left))


def loaded(paths: list[Path]) -> tuple[list[RunResult], list[LeftOut]]:
    """The finished runs, each once, and what else was given, which is told on stderr.

    Raises:
        StoreError: there is none.
    """
    from privaudit.errors import StoreError, UnfinishedError
    from privaudit.messages import plain
    from privaudit.store.result import load_run

    runs: dict[Path | None, RunResult] = {}
    errors: list[StoreError] = []
    left: list[LeftOut] = []
    for path in paths:
        try:
            run = load_run(path)
            runs.setdefault(run.folder and run.folder.resolve(), run)
        except StoreError as error:
            errors.append(error)
            left.append(LeftOut(path, str(error), isinstance(error, UnfinishedError)))
    for problem in errors if runs else errors[1:]:
        typer.echo(plain(f"left out: {problem}"), err=True)
    if not runs:
        raise errors[0]
    return [*runs.values()], left
