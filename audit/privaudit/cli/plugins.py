"""`privaudit plugins`: what is installed, and what each plugin's options mean."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from privaudit.cli.options import PluginFiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from privaudit.api.host import Provided

app = typer.Typer(help="List the installed plugins, or show the options of one.")

_JSON = typer.Option(False, "--json", help="Print JSON instead of a table.")


@app.callback(invoke_without_command=True)
def plugins(context: typer.Context, as_json: bool = _JSON, plugin: PluginFiles = None) -> None:
    """List the installed plugins, or show the options of one."""
    if context.invoked_subcommand is not None:
        return
    from privaudit.api.host import load_plugins

    found = load_plugins(files=plugin or ())
    if as_json:
        listed = [_identity(each) for each in found.provided]
        problems = [str(problem) for problem in found.problems]
        typer.echo(json.dumps({"plugins": listed, "problems": problems}, indent=2))
    else:
        rows = (
            (each.kind, each.name, each.summary, f"{each.distribution} {each.version}".strip())
            for each in found.provided
        )
        _print(_table(("kind", "name", "what it does", "from"), rows))
    for problem in found.problems:
        typer.echo(f"warning: {_plain(str(problem))}", err=True)


@app.command()
def show(
    name: str = typer.Argument(help="What recipes call the plugin."),
    as_json: bool = _JSON,
    plugin: PluginFiles = None,
) -> None:
    """Show a plugin's options: type, default and meaning, and the paper it comes from."""
    from privaudit.api.describe import describe
    from privaudit.api.host import load_plugins

    found = load_plugins(files=plugin or ()).named(name)
    if as_json:
        both = [{**_identity(each), **asdict(describe(each.cls))} for each in found]
        typer.echo(json.dumps(both, indent=2))
        return
    for number, each in enumerate(found):
        if number:
            typer.echo()
        _show(each)


def _show(each: Provided) -> None:
    from rich.text import Text

    from privaudit.api.describe import describe

    description = describe(each.cls)
    needs = ", ".join(
        f"{key} {value}"
        for key, value in description.needs.items()
        if value != description.usual[key]
    )
    origin = f"{each.distribution} {each.version}".strip()
    lines = [f"{each.name}: {each.kind} of {origin}", each.summary]
    lines += [f"Paper: {description.paper}"] if description.paper else []
    lines += [f"Needs: {needs}"] if needs else []
    lines += [] if description.options else ["It has no options."]
    for line in lines:
        _print(Text(_plain(line)))
    if description.options:
        rows = (
            (option.name, option.values, option.default, option.meaning)
            for option in description.options
        )
        _print(_table(("option", "type", "default", "meaning"), rows))


def _identity(each: Provided) -> dict[str, str]:
    return {
        "kind": each.kind,
        "name": each.name,
        "summary": each.summary,
        "distribution": each.distribution,
        "version": each.version,
        "source": each.source,
    }


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        # Text, not str: Rich would read square brackets in a stranger's words as markup.
        table.add_row(*(Text(_plain(cell)) for cell in row))
    return table


def _print(what: RenderableType) -> None:
    from rich.console import Console

    Console().print(what)


def _plain(text: str) -> str:
    """Without what a terminal would obey: a plugin's words are not ours."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
