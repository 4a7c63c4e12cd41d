"""`privaudit report`: finished runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from privaudit.cli.options import AcceptedDoubts, Gates, Junit, RunFolders, Sarif
from privaudit.statistics import table

if TYPE_CHECKING:
    from rich.console import Console

    from privaudit.explain import Explanation
    from privaudit.store.result import RunResult

_Format = Annotated[
    Literal["table", "markdown", "csv", "json", "latex", "html"],
    typer.Option(
        "--format",
        help="What to print; CSV and JSON hold shares from 0 to 1; html is a page with plots that "
        "opens offline, and needs --output.",
    ),
]
_Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="SUBJECT[/LEVEL]",
        help="What changes in defense are measured against; without it, each run's first row.",
    ),
]
_Sort = Annotated[
    Literal["density", "test", "defense", "auc", "label"] | None,
    typer.Option(
        help="Densest, most accurate, best defended or lowest AUC (against the strongest attack) "
        "first, or by label; without it, run order."
    ),
]
_Metric = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[,NAME...]",
        help=f"What to show of each attack: {', '.join(table.names())}; repeatable.",
    ),
]
_Attack = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[,NAME...]",
        help="Which attacks to show, by their labels; repeatable; all if not given.",
    ),
]
_Cost = Annotated[
    bool,
    typer.Option(
        "--cost",
        help="Show nonzero parameters, multiply-adds and measured time of each network, too; CSV "
        "and JSON always hold them.",
    ),
]
_Means = Annotated[
    bool,
    typer.Option(
        "--means",
        help="Leave out standard deviations and intervals; CSV and JSON always hold them.",
    ),
]
_Intervals = Annotated[
    bool,
    typer.Option(
        "--intervals",
        help="Show the 95 % interval of every metric that has one, and of the change in defense; "
        "CSV and JSON always hold them.",
    ),
]
_Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Say, too, whether sparsity or the loss in accuracy protects, and which classes and "
        "examples are most exposed; with --format table or json.",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write into this file instead of printing.", show_default=False
    ),
]
_Records = Annotated[
    bool,
    typer.Option(
        "--records",
        help="Name the most exposed examples, too, which tells who was in the training data; with "
        "--format html.",
    ),
]
_Fdr = Annotated[
    float | None,
    typer.Option(
        "--fdr",
        metavar="SHARE",
        help="The share of false ones that the list of an attacker who names examples may hold in "
        "expectation, 0.1 if not given; with --explain or --records.",
        show_default=False,
    ),
]


def report(
    runs: RunFolders,
    format: _Format = "table",
    baseline: _Baseline = None,
    sort: _Sort = None,
    attack: _Attack = None,
    metric: _Metric = None,
    cost: _Cost = False,
    means: _Means = False,
    intervals: _Intervals = False,
    explain: _Explain = False,
    gate: Gates = None,
    accept_doubt: AcceptedDoubts = None,
    junit: Junit = None,
    sarif: Sarif = None,
    output: _Output = None,
    records: _Records = False,
    fdr: _Fdr = None,
) -> None:
    """Compare finished runs in one table, or on one page."""
    from privaudit.cli.gated import GateOptions, exit_if_broken, gate_lines, sources_of
    from privaudit.cli.loaded import exit_code, loaded
    from privaudit.cli.targets import deliver, printed
    from privaudit.report import compare, render
    from privaudit.report.gating.asked import accepted_doubts, asked
    from privaudit.report.inputs import run_files

    wanted = {
        "--attack": attack,
        "--metric": metric,
        "--cost": cost,
        "--means": means,
        "--intervals": intervals,
        "--explain": explain,
        "--gate": gate,
        "--records": records,
    }
    _check(format, [option for option, value in wanted.items() if value], output)
    share = _fdr(fdr, listed=explain or records)
    gates = GateOptions.parsed(gate, accept_doubt, junit, sarif)
    results, left_out = loaded(runs)
    gates.check_asked(
        [one.gate for one in asked(gates.gates, results)], ", or gates in the recipe of a run"
    )
    gates.begin([path for run in results for path in run_files(run)], output=output)
    rows = compare(results, baseline)
    findings = gates.judged(results, left_out)
    accepted = accepted_doubts(results, gates.accepted)
    gates.write(findings, sources_of(results), accepted)
    lines = gate_lines(findings, accepted)
    if format == "html":
        from privaudit.page import page

        text = page(results, baseline=baseline, sort=sort, records=records, rows=rows,
                    gates=findings, fdr=share)  # fmt: skip
        deliver(text, output, "report")
    else:
        chosen: dict[str, Any] = {
            "baseline": baseline,
            "sort": sort,
            "attacks": attack or (),
            "metrics": metric or (),
            "cost": cost,
            "means": means,
            "intervals": intervals,
            "rows": rows,
        }
        explanation = None
        if explain:
            from privaudit.explain import explain as explained

            explanation = explained(results, baseline, everywhere=format == "json", rows=rows,
                                    fdr=share)  # fmt: skip
        if format == "table":
            printed(partial(_show, results, chosen, explanation, lines), output, "report")
        else:
            record = None if explanation is None else asdict(explanation)
            text = render(results, format=format, explanation=record, gates=findings,
                          accepted=accepted, **chosen)  # fmt: skip
            deliver(text, output, "report")
    if format != "table" or output is not None:
        for line in lines:  # for people, where stdout is for a program
            typer.echo(line, err=True)
    exit_if_broken(findings)
    raise typer.Exit(exit_code(left_out))


def _check(format: str, asked: Sequence[str], output: Path | None) -> None:
    """Refuse what a format has no use for.

    Raises:
        RecipeError: something of that kind was asked for, or a page without a file.
    """
    from privaudit.errors import RecipeError

    if format == "html" and output is None:
        raise RecipeError("--format html needs --output FILE: a page is opened in a browser")
    unused = [option for option in asked if "html" not in _ONLY.get(option, ())]
    if format == "html" and unused:
        raise RecipeError(
            f"{', '.join(unused)} cannot be used with --format html: a page always holds every "
            "attack, interval and explanation"
        )
    for option, formats in _ONLY.items():
        if option in asked and format not in formats:
            names = " or ".join(filter(None, [", ".join(formats[:-1]), formats[-1]]))
            raise RecipeError(f"{option} is for --format {names}, not {format}")
    if {"--means", "--intervals"} <= set(asked):
        raise RecipeError("--means leaves out what --intervals shows: give one of them")


def _fdr(asked: float | None, *, listed: bool) -> float:
    """The share of false ones that a list of named examples may hold.

    Raises:
        RecipeError: it is none, or nothing lists examples.
    """
    from privaudit.errors import RecipeError
    from privaudit.explain.discoveries import FDR

    if asked is None:
        return FDR
    if not listed:
        raise RecipeError("--fdr bounds a list of examples: add --explain, or --records to a page")
    if not 0 < asked < 1:
        raise RecipeError(f"--fdr must be above 0 and below 1, such as {FDR} (got {asked:g})")
    return asked


_ONLY: Mapping[str, Sequence[str]] = {
    "--records": ("html",),
    "--explain": ("table", "json"),
    "--gate": ("table", "markdown", "json", "html"),
}
"""Options that some formats alone know, and these formats."""


def _show(
    results: list[RunResult],
    chosen: dict[str, Any],
    explanation: Explanation | None,
    gates: Sequence[str],
    console: Console,
) -> None:
    """Print the table, what explains it, and the gates."""
    from privaudit.report import print_table

    print_table(results, console, **chosen)
    if explanation:
        from privaudit.explain.text import print_explanation

        console.print()
        print_explanation(explanation, console)
    if gates:
        console.print()
    for line in gates:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
