"""`privaudit cache`: what finished trainings and attacks take, whether they are sound."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, verify or shrink the cache that all runs share.")

_Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="PRIVAUDIT_CACHE or the user's cache folder if not given.",
        show_default=False,
    ),
]
_Most = Annotated[
    str, typer.Option("--max-size", metavar="SIZE", help="What units may take, such as 10GB.")
]
_Plan = Annotated[bool, typer.Option("--dry-run", help="Remove nothing; say what would go.")]


_NAMES = {"snapshot": "snapshots of fits that have not ended"}


@app.callback(invoke_without_command=True)
def cache(context: typer.Context, cache: _Cache = None) -> None:
    """List, verify or shrink the cache that all runs share."""
    context.obj = cache  # for `privaudit cache --cache DIR verify`
    if context.invoked_subcommand is None:
        _list(_chosen(context, None))


@app.command()
def verify(context: typer.Context, cache: _Cache = None) -> None:
    """Read every unit; set aside what is damaged, and exit with 1 if anything is."""
    from privaudit.report.escape import plain
    from privaudit.store.cache import verified

    number = damaged = 0
    for unit, problem, aside in verified(_chosen(context, cache)):
        number += 1
        if problem:
            damaged += 1
            typer.echo(plain(f"{unit.path}: {problem}; set aside as {aside}"))
    typer.echo(f"{number:,} units read, {damaged:,} damaged")
    if damaged:
        raise typer.Exit(1)


@app.command()
def evict(
    context: typer.Context, max_size: _Most, dry_run: _Plan = False, cache: _Cache = None
) -> None:
    """Remove the units that were used least recently, and what was set aside."""
    from privaudit.cli.sizes import bytes_in, shown
    from privaudit.report.escape import plain
    from privaudit.store.cache import contents, evicted

    try:
        most = bytes_in(max_size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-size") from error
    folder = _chosen(context, cache)
    gone = list(evicted(folder, most, dry_run=dry_run))
    if dry_run:
        for kept in gone:
            typer.echo(plain(f"{kept.path} ({shown(kept.size)}, used {_day(kept.used)})"))
    left = contents(folder).units
    what = "would be removed" if dry_run else "removed"
    typer.echo(
        f"{len(gone):,} files of {shown(sum(kept.size for kept in gone))} {what}; "
        f"{len(left):,} units of {shown(sum(unit.size for unit in left))} are there"
    )


def _chosen(context: typer.Context, given: Path | None) -> Path:
    from privaudit.experiment.environment import cache_folder

    return cache_folder(given or context.obj)


def _list(folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from privaudit.cli.sizes import shown
    from privaudit.report.escape import plain
    from privaudit.store.cache import Kept, contents, schema_of

    inside = contents(folder)
    groups: dict[str, list[Kept]] = defaultdict(list)
    for unit in inside.units:
        groups[schema_of(unit)].append(unit)
    rows = {_NAMES.get(name, f"units: {name}"): groups[name] for name in sorted(groups)}
    rows |= {"set aside": [*inside.aside], "temporary": [*inside.temporary]}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what")
    for head in ("files", "size", "oldest use", "newest use"):
        table.add_column(head, justify="right")
    for name, files in rows.items():
        if files:
            used = [file.used for file in files]
            size = sum(file.size for file in files)
            days = _day(min(used)), _day(max(used))
            table.add_row(Text(plain(name)), f"{len(files):,}", shown(size), *days)
    table.add_row("data", "", shown(inside.data), "", "")
    console = Console()
    console.print(Text(plain(str(folder))), Text(), table, sep="\n", highlight=False)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d}"
