"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.complete import recipes, runs

RecipeName = Annotated[
    str,
    typer.Argument(help="A recipe's file, or the name of a shipped one.", autocompletion=recipes),
]

RunFolders = Annotated[
    list[Path],
    typer.Argument(help="Run folders, or their result.json files.", autocompletion=runs),
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

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")]

CacheFolder = Annotated[
    Path | None,
    typer.Option(
        help="Where finished trainings and data are kept; PRIVAUDIT_CACHE or the user's cache "
        "folder if not given."
    ),
]

Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="On a CPU, how many processes of one thread each train; one for each core if not "
        "given.",
        show_default=False,
    ),
]
