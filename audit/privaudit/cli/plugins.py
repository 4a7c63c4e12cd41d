"""`privaudit plugins`: what is installed, and what each plugin's options mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import typer

from privaudit.cli import complete
from privaudit.cli.options import PluginFiles

if TYPE_CHECKING:
    from rich.console import RenderableType

    from privaudit.api.host import Provided
    from privaudit.api.listed import Listed

app = typer.Typer(help="List the installed plugins, or show the options of one.")

_UNTOLD = "its source does not tell: see --load"
_SUMMARY = "what it does"
_GAP = 2  # between columns
_LEAST = 12  # cells of what a plugin does, however narrow the terminal

Kind = Literal["dataset", "model", "sparsifier", "defense", "attack"]

_LOAD = typer.Option(
    False, "--load", help="Import what does not tell its kind, first in a process of its own."
)
_KIND = typer.Option(None, "--kind", help="List plugins of one kind alone.", show_default=False)
_JSON = typer.Option(False, "--json", help="Print JSON instead of a table.")


@app.callback(invoke_without_command=True)
def plugins(
    context: typer.Context,
    kind: Kind | None = _KIND,
    as_json: bool = _JSON,
    plugin: PluginFiles = None,
    load: bool = _LOAD,
) -> None:
    """List the installed plugins, or show the options of one."""
    if context.invoked_subcommand is not None:
        return
    from privaudit.api.host import load_plugins

    found = load_plugins(files=plugin or ())
    if load:
        found.load_untold()
    listeners = () if kind else found.listening()[0]
    every, problems = found.listed(), found.known_broken()
    listed = [one for one in every if kind in (None, one.kind)]
    heard = [
        {"distribution": one.distribution, "version": one.version, "module": one.module}
        for one in listeners
    ]
    if as_json:
        told = {
            "plugins": [asdict(one) for one in listed],
            "listeners": heard,
            "problems": [*map(str, problems)],
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        _print_list(listed, kind)
        for one in heard:
            installed = f" {one['version']} ({one['module']})" if one["version"] else ""
            typer.echo(f"Listening to runs: {_plain(one['distribution'] + installed)}")
    untold = [one.name for one in every if kind and not one.kind]
    if untold:
        typer.echo(f"of an unknown kind: {_plain(', '.join(untold))}; {_UNTOLD}", err=True)
    for problem in problems:
        typer.echo(f"warning: {_plain(str(problem))}", err=True)


def _print_list(listed: Sequence[Listed], kind: str | None) -> None:
    """One line for each plugin, and below what is the same for all of them."""
    if not listed:
        typer.echo("There is none.")
        return
    origins = [f"{one.distribution} {one.version}".strip() for one in listed]
    columns = {
        "kind": [one.kind or "?" for one in listed],
        "name": [_plain(one.name) for one in listed],
        _SUMMARY: [_plain(one.summary if one.kind else _UNTOLD) for one in listed],
        "from": [_plain(origin) for origin in origins],
    }
    if kind:
        del columns["kind"]
    if len(set(origins)) == 1:
        del columns["from"]
    _cut_summaries(columns)
    _print(_table(tuple(columns), zip(*columns.values(), strict=True)))
    if "from" not in columns:
        typer.echo(f"All are from {_plain(origins[0])}. `privaudit plugins show NAME` tells more.")


def _cut_summaries(columns: dict[str, list[str]]) -> None:
    """Cut what plugins do where a word ends, so that no line is wider than the terminal."""
    from rich.cells import cell_len
    from rich.console import Console

    others = [max(map(cell_len, [head, *cells])) for head, cells in columns.items()]
    del others[[*columns].index(_SUMMARY)]
    room = max(Console().width - sum(width + _GAP for width in others), _LEAST)
    cut = []
    for summary in columns[_SUMMARY]:
        words = summary.split()
        while len(words) > 1 and cell_len(_joined(words, summary)) > room:
            words.pop()
        cut.append(_joined(words, summary))
    columns[_SUMMARY] = cut


def _joined(words: Sequence[str], whole: str) -> str:
    text = " ".join(words)
    return text if len(text) >= len(whole.strip()) else f"{text.rstrip(',;:')} ..."


@app.command()
def show(
    name: str = typer.Argument(
        help="What recipes call the plugin.", autocompletion=complete.plugins
    ),
    as_json: bool = _JSON,
    plugin: PluginFiles = None,
) -> None:
    """Show a plugin's options, the paper it comes from, and where it departs from it."""
    from privaudit.api.describe import describe
    from privaudit.api.host import load_plugins
    from privaudit.api.listed import Listed

    matches = load_plugins(files=plugin or ()).named(name)
    if as_json:
        both = [
            {**asdict(Listed.of(provided)), **asdict(describe(provided.cls))}
            for provided in matches
        ]
        typer.echo(json.dumps(both, indent=2))
        return
    for number, provided in enumerate(matches):
        if number:
            typer.echo()
        _show(provided)


def _show(provided: Provided) -> None:
    from rich.text import Text

    from privaudit.api.describe import describe

    description = describe(provided.cls)
    needs = ", ".join(
        f"{key} {value}"
        for key, value in description.needs.items()
        if value != description.usual[key]
    )
    origin = f"{provided.distribution} {provided.version}".strip()
    lines = [f"{provided.name}: {provided.kind} of {origin}", provided.summary]
    lines += [f"Paper: {description.paper}"] if description.paper else []
    lines += [f"Differs: {sentence}" for sentence in description.deviations]
    lines += [f"Needs: {needs}"] if needs else []
    lines += [f"In a recipe: {description.short}"] if description.short else []
    lines += [] if description.options else ["It has no options."]
    for line in lines:
        _print(Text(_plain(line)))
    if description.options:
        rows = (
            (option.name, option.values, option.default, option.meaning)
            for option in description.options
        )
        _print(_table(("option", "type", "default", "meaning"), rows))


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
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
