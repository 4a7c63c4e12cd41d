"""`privaudit audit`: attacks on what a network has already answered, and gates for releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from privaudit.cli import complete
from privaudit.cli.options import GATE_BROKEN, AcceptedDoubts, Gates, PluginFiles

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE...",
        help="A table (.csv, .tsv, .jsonl, .parquet) with columns label, member and p_CLASS "
        "(probabilities), logit_CLASS, log_p_CLASS or margin, and where wanted audited; several "
        "go one after another. Or a NumPy archive (.npz) with logits (N, C) or (Q, N, C), labels "
        "(N,), members (N,), and where wanted shadow_logits (K, N, C) or (K, Q, N, C), "
        "shadow_members (K, N), audited (N,), noisy (D, N, C), shadow_noisy, x; instead of logits, "
        "probabilities, log_probabilities or margins, and shadow_probabilities and so on. Or .npy "
        "files that are called as these arrays.",
        show_default=False,
    ),
]
_Members = Annotated[
    list[Path] | None,
    typer.Option(
        "--members",
        metavar="FILE",
        help="Outputs about members only; repeatable.",
        show_default=False,
    ),
]
_NonMembers = Annotated[
    list[Path] | None,
    typer.Option(
        "--non-members",
        metavar="FILE",
        help="Outputs about non-members only; repeatable.",
        show_default=False,
    ),
]
_Population = Annotated[
    list[Path] | None,
    typer.Option(
        "--population",
        metavar="FILE",
        help="Outputs about examples that nobody was trained on and that are not audited; "
        "repeatable.",
        show_default=False,
    ),
]
_Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="OURS=THEIRS[,...]",
        help="What the columns of tables are called: label=target,member=in_train,p_*=score_*, "
        "where * is the class.",
        show_default=False,
    ),
]
_Attacks = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME...]",
        help="Attacks, as `privaudit plugins` lists them; all that the outputs allow, if not "
        "given.",
        show_default=False,
        autocompletion=complete.attacks,
    ),
]
_Kind = Annotated[
    Literal["logits", "log_probabilities", "probabilities", "margins"] | None,
    typer.Option(
        help="What arrays called logits hold: logits; natural logarithms of probabilities; "
        "probabilities; or margins (N,), the log-odds of class 1 of two.",
    ),
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="ATTACK.OPTION=VALUE", help="Change an attack's option; repeatable."
    ),
]
_Format = Annotated[
    Literal["table", "json"],
    typer.Option("--format", help="What to print; JSON holds shares from 0 to 1."),
]
_Confidence = Annotated[
    float, typer.Option(help="Of every interval, two-sided, and of bounds on epsilon, one-sided.")
]
_Delta = Annotated[
    float | None,
    typer.Option(help="Of the bounds on epsilon; one over ten times the members if not given."),
]
_Coins = Annotated[
    bool,
    typer.Option(
        "--coins",
        help="A fair coin of its own decided on each audited row's membership: measure "
        "one_run_epsilon.",
    ),
]
_Seed = Annotated[int, typer.Option(help="Of the attacks' own randomness.")]


def audit(
    outputs: _Files = None,
    attacks: _Attacks = None,
    members: _Members = None,
    non_members: _NonMembers = None,
    population: _Population = None,
    columns: _Columns = None,
    changes: _Set = None,
    kind: _Kind = None,
    plugin: PluginFiles = None,
    gate: Gates = None,
    accept_doubt: AcceptedDoubts = None,
    format: _Format = "table",
    confidence: _Confidence = 0.95,
    seed: _Seed = 0,
    delta: _Delta = None,
    coins: _Coins = False,
) -> None:
    """Attack a network by the outputs you already have, and gate a release on the result."""
    from privaudit.api.host import load_plugins
    from privaudit.cli.audited import as_json, chosen, print_table
    from privaudit.doubts.doubt import check_accepted, lines, still_open
    from privaudit.gate import judge, parse_gate
    from privaudit.outputs import audit_outputs
    from privaudit.outputs.files import parse_columns, read_files
    from privaudit.report.escape import plain

    gates = [parse_gate(text) for text in gate or ()]
    accepted = check_accepted(accept_doubt or ())
    entries = chosen(attacks, changes or ())
    arrays, read = read_files(
        outputs or (),
        members=members or (),
        non_members=non_members or (),
        population=population or (),
        columns=parse_columns(columns or ()),
        kind=kind,
    )
    plugins = load_plugins(files=plugin or ())
    results = audit_outputs(
        **arrays,
        attacks=entries,
        confidence=confidence,
        seed=seed,
        delta=delta,
        coins=coins,
        plugins=plugins,
        quiet=True,
    )
    metrics = {label: result.metrics for label, result in results.items()}
    opened = still_open(results.doubts, accepted)
    verdicts = [judge(requirement, metrics, opened, confidence) for requirement in gates]
    if format == "json":
        typer.echo(as_json(metrics, verdicts, confidence, results.doubts, accepted))
    else:
        print_table(metrics, confidence)
    # For people on stderr, where stdout is for a program.
    for line in [*read, *results.read]:
        typer.echo(plain(line), err=format == "json")
    if results.left_out:
        typer.echo(plain("not tried: " + "; ".join(results.left_out)), err=format == "json")
    settled = [doubt for doubt in results.doubts if doubt not in opened]
    for line in [*lines(opened), *(f"{line} [accepted]" for line in lines(settled))]:
        typer.echo(line, err=format == "json")
    for verdict in verdicts:
        typer.echo(plain(verdict.sentence()), err=format == "json")
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(GATE_BROKEN)
