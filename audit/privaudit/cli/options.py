"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.complete import recipes

RecipeName = Annotated[
    str,
    typer.Argument(help="A recipe's file, or the name of a shipped one.", autocompletion=recipes),
]

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file with plugins, used without being installed; repeatable.",
        show_default=False,
    ),
]
