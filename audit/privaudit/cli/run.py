"""`privaudit run`: from a recipe to a comparison table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.logs import attach_logging as _attach_logging
from privaudit.cli.logs import log_everything
from privaudit.cli.options import (
    AcceptedDoubts,
    CacheFolder,
    Device,
    Gates,
    Junit,
    PluginFiles,
    Processes,
    RecipeName,
    Sarif,
)
from privaudit.cli.work import loaded, performed, until_stopped

if TYPE_CHECKING:
    from rich.console import Console

    from privaudit.cli.gated import GateOptions
    from privaudit.cli.signals import Stop
    from privaudit.recipe import Recipe
    from privaudit.report.gates import GateFinding
    from privaudit.store.failure import Failure
    from privaudit.store.result import RunResult

_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B.C=VALUE", help="Change the recipe first; repeatable."),
]
_Output = Annotated[
    Path | None, typer.Option(help="The run's folder; runs/NAME-HASH if not given.")
]
_Plan = Annotated[
    bool, typer.Option("--dry-run", help="Say what there is to do and how long it may take.")
]
_Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show warnings and the sentences at the end, no more."),
]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show everything that the engine logs, too.")
]


_Memory = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="GIB",
        help="How much memory may be used; three quarters of what is free if not given.",
        show_default=False,
    ),
]


def run(
    context: typer.Context,
    recipe: RecipeName,
    changes: _Set = None,
    plugin: PluginFiles = None,
    output: _Output = None,
    device: Device = "auto",
    cache: CacheFolder = None,
    processes: Processes = None,
    memory: _Memory = None,
    gate: Gates = None,
    accept_doubt: AcceptedDoubts = None,
    junit: Junit = None,
    sarif: Sarif = None,
    dry_run: _Plan = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Train, make sparse, attack, and compare; what was done before is not done again."""
    from rich.console import Console

    from privaudit.cli.gated import GateOptions, exit_if_broken
    from privaudit.errors import RecipeError

    gates = GateOptions.parsed(gate, accept_doubt, junit, sarif)
    findings: list[GateFinding] = []
    if quiet and verbose:
        raise RecipeError("--quiet leaves out what --verbose shows: give one of them")
    errors = Console(stderr=True)
    _attach_logging(errors)
    if verbose:
        log_everything()

    def work(stop: Stop) -> Sequence[Failure]:
        question = loaded(recipe, changes or (), plugin or (), processes)
        all_gates = [*gates.gates, *(rule.limit for rule in question.gates)]
        gates.check_asked(all_gates, ", or gates in the recipe")
        if dry_run:
            _print_plan(question, errors, device, cache)
            return ()
        from privaudit.recipe import find_recipe

        file = find_recipe(recipe)
        gates.begin([file])
        result = performed(
            question,
            stop,
            errors,
            output=output,
            device=device,
            cache=cache,
            processes=processes,
            memory=memory,
            quiet=quiet,
        )
        _print_result(result, errors, quiet)
        findings.extend(_judged(gates, result, file))
        return result.failures

    until_stopped(context, errors, work)
    exit_if_broken(findings)


def _judged(gates: GateOptions, result: RunResult, file: Path) -> list[GateFinding]:
    """What holding gates against the run comes to, printed and written."""
    from privaudit.cli.gated import gate_lines, recipe_source
    from privaudit.report.gating.asked import accepted_doubts
    from privaudit.report.names import run_names

    findings = gates.judged([result])
    accepted = accepted_doubts([result], gates.accepted)
    for line in ["", *gate_lines(findings, accepted)] if findings else ():
        typer.echo(line)
    gates.write(findings, {run_names([result])[0]: recipe_source(file)}, accepted)
    return findings


def _print_result(result: RunResult, errors: Console, quiet: bool) -> None:
    from rich.console import Console

    from privaudit.report import print_table, print_verdict

    if quiet:
        print_verdict([result], Console())
        return
    print_table([result], Console())
    errors.print(f"\n[dim]results in[/] {result.folder}", highlight=False)


def _print_plan(recipe: Recipe, errors: Console, device: str, cache: Path | None) -> None:
    from rich.console import Console

    from privaudit.cli.planned import plan_table
    from privaudit.experiment.plan import plan
    from privaudit.experiment.running import run_context

    with errors.status("going through every script, and timing a few training steps"):
        context = run_context(recipe, device=device, cache=cache)
        shown = plan_table(recipe, plan(context), context)
    Console().print(shown)
