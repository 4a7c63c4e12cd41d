"""`privaudit new`: the start of a plugin."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

_OUTPUT = typer.Option(
    None, help="The folder to make; privaudit-NAME if not given.", show_default=False
)


def new(
    kind: str = typer.Argument(help="attack, sparsifier, defense, model or dataset."),
    name: str = typer.Argument(help="What recipes will call it, such as my_method."),
    output: Path | None = _OUTPUT,
) -> None:
    """Write a new plugin's distribution: class, entry point, test and README."""
    from privaudit.api.host import load_plugins
    from privaudit.errors import PluginError
    from privaudit.scaffold import check_request, distribution_name, write_plugin

    check_request(kind, name)
    folder = output or Path(distribution_name(name))
    for taken in load_plugins().listed():
        if (taken.kind, taken.name) == (kind, name):
            raise PluginError(
                f"{kind} {name!r} is provided by {taken.distribution} {taken.version} already: "
                "choose another name"
            )
    for path in write_plugin(kind, name, folder):
        typer.echo(f"wrote {path}")
    typer.echo(f"next: cd {shlex.quote(str(folder))} && pip install -e '.[test]' && pytest")
