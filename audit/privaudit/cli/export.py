"""`privaudit export`: a network of a finished run, truly smaller, in a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from privaudit.cli.complete import runs as finished_runs

_Run = Annotated[
    Path,
    typer.Argument(help="A run's folder, or its result.json.", autocompletion=finished_runs),
]
_Subject = Annotated[str, typer.Option(help="Whose network, as the report calls it.")]
_Level = Annotated[
    str | None, typer.Option(help="At which level; not needed where there is one alone.")
]
_Seed = Annotated[int | None, typer.Option(help="Of which seed; without it, the first.")]
_Target = Annotated[int | None, typer.Option(help="Which of its targets; without it, the first.")]
_Format = Annotated[
    Literal["safetensors", "onnx"],
    typer.Option(
        "--format",
        help="safetensors: the weights, for PyTorch; onnx: a program that takes examples as the "
        "dataset has them, and normalises them itself.",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="In the run's folder `exports` if not given."),
]
_Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the dataset lies, which old runs need."),
]


def export(
    run: _Run,
    subject: _Subject,
    level: _Level = None,
    seed: _Seed = None,
    target: _Target = None,
    format: _Format = "safetensors",
    output: _Output = None,
    cache: _Cache = None,
) -> None:
    """Write an audited network to a file, without the channels that are zero."""
    from privaudit.experiment.export import export as exported
    from privaudit.report.escape import plain

    done = exported(
        run,
        subject,
        level=level,
        seed=seed,
        target=target,
        format=format,
        output=output,
        cache=cache,
    )
    zeros = "" if done.nonzero == done.parameters else f" ({done.nonzero:,} of them not zero)"
    typer.echo(
        f"{plain(str(done.path))}: {done.dense:,} parameters when dense, "
        f"{done.parameters:,} in the file{zeros}, {done.size:,} bytes"
    )
    if done.left_out:
        typer.echo(
            f"Not in the file: what the defense {done.left_out!r} changes in the answers. Whoever "
            "asks this network sees its own."
        )
    if format == "onnx":
        shape = "x".join(map(str, done.inputs.shape))
        kind = str(done.inputs.dtype).removeprefix("torch.")
        what = "tokens" if done.inputs.tokens else "examples"
        how = "" if done.inputs.tokens else ", not normalised"
        typer.echo(f"It takes {what} (N, {shape}) of {kind}{how}.")
