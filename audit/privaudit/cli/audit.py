"""`privaudit audit`: attacks on what a network has already answered, and gates for releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from privaudit.cli import complete
from privaudit.cli.options import GATE_BROKEN, AcceptedDoubts, Gates, Junit, PluginFiles, Sarif

if TYPE_CHECKING:
    from rich.console import Console

    from privaudit.doubts.doubt import Doubt
    from privaudit.gate import Verdict
    from privaudit.outputs import OutputAudits

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE...",
        help="A table (.csv, .tsv, .jsonl, .parquet) with columns label, member and p_CLASS "
        "(probabilities), logit_CLASS, log_p_CLASS or margin, and where wanted audited; several "
        "go one after another. Or a NumPy archive (.npz) with logits (N, C) or (Q, N, C), labels "
        "(N,), members (N,), and where wanted shadow_logits (K, N, C) or (K, Q, N, C), "
        "shadow_members (K, N), audited (N,), noisy (D, N, C), shadow_noisy, x, and of the dense "
        "networks before pruning original_logits and shadow_original_logits; instead of logits, "
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
_Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write into this file instead of printing.", show_default=False
    ),
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
_Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Make no attack: estimate in seconds, by the highest losses, how many members one "
        "with shadows would find. It says that a network leaks, or that this cannot be told.",
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
    output: _Output = None,
    junit: Junit = None,
    sarif: Sarif = None,
    confidence: _Confidence = 0.95,
    seed: _Seed = 0,
    delta: _Delta = None,
    coins: _Coins = False,
    quick: _Quick = False,
) -> None:
    """Attack a network by the outputs you already have, and gate a release on the result."""
    from privaudit.api.host import load_plugins
    from privaudit.cli.audited import Made, as_json, chosen, findings_of
    from privaudit.cli.gated import GateOptions
    from privaudit.cli.quick import check_quick
    from privaudit.cli.quick import quick as look
    from privaudit.cli.targets import deliver, printed
    from privaudit.doubts.doubt import still_open
    from privaudit.gate import judge
    from privaudit.outputs import audit_outputs
    from privaudit.outputs.entries import attack_entries
    from privaudit.outputs.files import parse_columns, read_files
    from privaudit.report.escape import plain
    from privaudit.report.gating.asked import Accepted
    from privaudit.report.gating.sarif import Source

    if quick:
        check_quick({
            "--attacks": attacks, "--set": changes, "--plugin": plugin, "--gate": gate,
            "--junit": junit, "--sarif": sarif, "--delta": delta is not None, "--coins": coins,
            "--seed": seed,
        })  # fmt: skip
    gates = GateOptions.parsed(gate, accept_doubt, junit, sarif)
    gates.check_of_one_network()
    gates.check_asked(gates.gates, "")
    entries = chosen(attacks, changes or ())
    given = [*(outputs or ()), *(members or ()), *(non_members or ()), *(population or ())]
    files = [*given, *(plugin or ())]
    gates.begin(files, output=output)
    arrays, read = read_files(
        outputs or (),
        members=members or (),
        non_members=non_members or (),
        population=population or (),
        columns=parse_columns(columns or ()),
        kind=kind,
    )
    if quick:
        look(files, arrays, read, gates.accepted, confidence, format, output)
        return
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
    opened = still_open(results.doubts, gates.accepted)
    settled = [doubt for doubt in results.doubts if doubt not in opened]
    verdicts = [judge(requirement, metrics, opened, confidence) for requirement in gates.gates]
    read += results.read
    notes = [
        *map(plain, read),
        *_left_out(results),
        *_notes(opened, settled, verdicts),
    ]
    name = plain(", ".join(path.name for path in given))
    gates.write(
        findings_of(gates.gates, metrics, opened, confidence, name),
        {name: Source(given[0])},
        [Accepted(name, doubt, "--accept-doubt") for doubt in settled],
    )
    if format == "json":
        options = {
            label: attack.model_dump(mode="json", serialize_as_any=True)
            for label, attack in attack_entries(
                list(results) if entries is None else entries, plugins
            )
        }
        made = Made(
            files,
            options,
            arrays["kind"],
            seed,
            confidence,
            delta,
            coins,
            read,
            results.left_out,
            results.accuracy,
        )
        deliver(as_json(metrics, verdicts, made, results.doubts, gates.accepted), output, "audit")
    else:
        printed(
            partial(_show, metrics, confidence, notes, results.accuracy_sentence()), output, "audit"
        )
    if format == "json" or output is not None:
        for line in notes:  # for people, where stdout is for a program
            typer.echo(line, err=True)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(GATE_BROKEN)


def _show(
    metrics: Mapping[str, Mapping[str, Any]],
    confidence: float,
    notes: list[str],
    accuracy: str,
    console: Console,
) -> None:
    from privaudit.cli.audited import print_table

    print_table(metrics, confidence, console, accuracy)
    for line in notes:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _left_out(results: OutputAudits) -> list[str]:
    """For people: which attacks the outputs do not allow, where none were named."""
    from privaudit.report.escape import plain

    by_reason: dict[str, list[str]] = {}
    for line in results.left_out:
        name, _, reason = line.partition(": ")
        by_reason.setdefault(reason.removeprefix("needs "), []).append(name)
    parts = [f"{reason} ({', '.join(names)})" for reason, names in by_reason.items()]
    return [plain(f"Not tried, for want of {'; '.join(parts)}")] if parts else []


def _notes(
    opened: Sequence[Doubt], settled: Sequence[Doubt], verdicts: Sequence[Verdict]
) -> list[str]:
    """For people: the doubts, those that are accepted with that word, and the gates."""
    from privaudit.doubts.doubt import lines
    from privaudit.report.escape import plain

    told = [*lines(opened), *(f"{line} [accepted]" for line in lines(settled))]
    return [*told, *(plain(verdict.sentence()) for verdict in verdicts)]
