"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.complete import recipes, runs
from privaudit.doubts.doubt import DOUBTS
from privaudit.statistics import table

GATE_BROKEN = 3
"""Exit code when the audit was made and a gate did not hold."""

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

_below = table.names(lambda metric: metric.gate == "<" and not metric.bound)
_bounds = table.names(lambda metric: metric.bound)
_above = table.names(lambda metric: metric.gate == ">")

Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="METRIC<NUMBER",
        help="Exit 3 unless the upper confidence limit of every attack is below the number: "
        f"{', '.join(_below)}; or {', '.join(f'{name}>NUMBER' for name in _above)}, by its lower "
        f"limit; or {', '.join(_bounds)}, by the lower bound that is proved, which may disprove "
        "but never assures; and unless no doubt is open. Of a run every network is judged by "
        "itself, or their mean by mean(METRIC)<NUMBER. Repeatable.",
        show_default=False,
    ),
]

Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        metavar="FILE",
        help="Write the gates as JUnit XML, too, for the tests of a pipeline.",
        show_default=False,
    ),
]

Sarif = Annotated[
    Path | None,
    typer.Option(
        "--sarif",
        metavar="FILE",
        help="Write the gates that are not kept as SARIF 2.1.0, too, for code scanning.",
        show_default=False,
    ),
]

AcceptedDoubts = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-doubt",
        metavar="NAME",
        help="Let gates pass although this doubt is open: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in DOUBTS.items())
        + ". Repeatable; what was accepted stands in the output.",
        show_default=False,
    ),
]
