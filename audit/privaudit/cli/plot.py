"""`privaudit plot`: what finished runs found, as figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from privaudit.cli.options import RunFolders
from privaudit.statistics import table

if TYPE_CHECKING:
    from privaudit.figures.figure import Figure

_Kind = Annotated[
    Literal["roc", "tradeoff", "density", "scores", "curves"],
    typer.Option(
        "--kind",
        help="roc: on log-log axes, with a band; tradeoff: test accuracy against defense, or "
        "another metric; density: against accuracy and a metric; scores: histograms of members "
        "and non-members; curves: of the training.",
    ),
]
_Attack = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Of which attack; the strongest if not given, and all in a ROC."
    ),
]
_Level = Annotated[
    str | None,
    typer.Option(
        metavar="SUBJECT[/LEVEL]",
        help="Of whose networks, for roc and scores; without it, each run's most exposed.",
    ),
]
_Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"For tradeoff and density, one of: {', '.join(table.names())}."
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Ends in .svg, .tex (pgfplots), .pdf or .png (both need the extra `plot`); several "
        "figures are numbered; RUN-KIND.svg in this folder if not given.",
    ),
]


def plot(
    runs: RunFolders,
    kind: _Kind,
    attack: _Attack = None,
    level: _Level = None,
    metric: _Metric = None,
    output: _Output = None,
) -> None:
    """Draw what finished runs found."""
    from privaudit.cli.loaded import exit_code, loaded
    from privaudit.errors import RecipeError
    from privaudit.figures.kinds import figure
    from privaudit.messages import plain
    from privaudit.store.files import write_many

    formats = _formats()
    suffix = ".svg" if output is None else output.suffix.lower()
    if suffix not in formats:
        raise RecipeError(
            f"--output {plain(str(output))} must end in one of {', '.join(formats)}, which is what "
            "the figure is written as"
        )
    results, left_out = loaded(runs)
    figures = figure(results, kind, attack=attack, level=level, metric=metric)
    first = Path(f"{_safe(results[0].name)}-{kind}.svg") if output is None else output
    paths = _numbered(first, len(figures))
    write_many([(path, formats[suffix](drawn)) for path, drawn in zip(paths, figures, strict=True)])
    for path, drawn in zip(paths, figures, strict=True):
        typer.echo(plain(f"{path}: {drawn.title}"))
        for note in drawn.notes:
            typer.echo(plain(f"  {note}"))
    raise typer.Exit(exit_code(left_out))


def _formats() -> Mapping[str, Callable[[Figure], bytes]]:
    """What makes a file's content, by its suffix."""
    from privaudit.figures.pgfplots import pgfplots
    from privaudit.figures.picture import picture
    from privaudit.figures.svg import svg

    return {
        ".svg": lambda figure: svg(figure, caption=True).encode() + b"\n",
        ".tex": lambda figure: pgfplots(figure).encode(),
        ".pdf": lambda figure: picture(figure, "pdf"),
        ".png": lambda figure: picture(figure, "png"),
    }


def _numbered(path: Path, count: int) -> list[Path]:
    """The path, or one for each of several figures."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def _safe(name: str) -> str:
    """A run's name as part of a file's: a recipe may be called anything."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
