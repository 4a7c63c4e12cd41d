"""`privaudit diff`: what sets two finished runs apart, and what of it must not be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from privaudit.cli.options import GATE_BROKEN
from privaudit.statistics import table

if TYPE_CHECKING:
    from privaudit.diff import Diff
    from privaudit.diff.fail_if import Finding
    from privaudit.store.result import RunResult

_A = Annotated[Path, typer.Argument(help="The run to compare to: its folder, or its result.json.")]
_B = Annotated[Path, typer.Argument(help="The run that is compared, likewise.")]
_Format = Annotated[
    Literal["table", "markdown", "json", "html"],
    typer.Option("--format", help="What to print; JSON holds shares from 0 to 1."),
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write it there instead of printing it."),
]
_FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="EXPR",
        help="Exit 3 where this holds for a row that both runs have, by B minus A as measured, or "
        "where a row cannot tell or a run is in doubt: METRIC>+NUMBER, METRIC<-NUMBER or "
        "|METRIC|>NUMBER, such as auc>+0.02, with shares from 0 to 1. Metrics: test_accuracy, "
        f"{', '.join(table.names())}. Repeatable.",
    ),
]
_Accepted = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-doubt",
        metavar="NAME",
        help="Judge by --fail-if although this doubt is open, as `audit` takes it. Repeatable.",
    ),
]


def diff(
    a: _A,
    b: _B,
    format: _Format = "table",
    output: _Output = None,
    fail_if: _FailIf = None,
    accept_doubt: _Accepted = None,
) -> None:
    """Tell what differs between two finished runs: recipe, plugins, versions, data, numbers."""
    from privaudit.diff import diff as compared
    from privaudit.diff.fail_if import judge, parse_fail_if
    from privaudit.diff.values import ACCURACY
    from privaudit.doubts.doubt import check_accepted, still_open
    from privaudit.report.escape import plain
    from privaudit.store.result import load_run

    conditions = [parse_fail_if(text) for text in fail_if or ()]
    accepted = check_accepted(accept_doubt or ())
    runs = [load_run(path) for path in (a, b)]
    opened = still_open([doubt for run in runs for doubt in run.doubts], accepted)
    asked = [c.metric for c in conditions if c.metric != ACCURACY]
    found = compared(runs[0], runs[1], asked)
    findings = [judge(condition, found, opened) for condition in conditions]
    _tell(found, runs[:1] if found.same_run else runs, findings, format, output)
    for finding in findings:
        for sentence in finding.sentences():
            # For people on stderr, where stdout is for a program.
            typer.echo(plain(sentence), err=format != "table")
    if any(finding.failed for finding in findings):
        raise typer.Exit(GATE_BROKEN)


def _tell(
    found: Diff,
    runs: list[RunResult],
    findings: list[Finding],
    format: str,
    output: Path | None,
) -> None:
    from rich.console import Console

    from privaudit.diff.text import print_diff
    from privaudit.report.doubtful import doubt_lines
    from privaudit.store.files import write_whole

    if format == "table" and output is None:
        print_diff(found, Console(), doubt_lines(runs, str))
        return
    text = _text(found, runs, findings, format).encode()  # UTF-8, whatever the terminal speaks
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_whole(output, text)


def _text(found: Diff, runs: list[RunResult], findings: list[Finding], format: str) -> str:

    from privaudit.diff.formats import as_json, as_markdown
    from privaudit.diff.page import as_html
    from privaudit.diff.text import diff_lines
    from privaudit.report.columns import TERMINAL
    from privaudit.report.doubtful import doubt_lines, doubt_records, failure_records

    notes = doubt_lines(runs, str)
    judged = [sentence for finding in findings for sentence in finding.sentences()]
    if format == "json":
        conditions = [
            {
                "fail_if": finding.condition.text,
                "failed": finding.failed,
                "rows": [row.name for row in finding.rows],
                "cannot_be_told": finding.untold,
            }
            for finding in findings
        ]
        more = {
            "fail_if": conditions,
            "doubts": doubt_records(runs),
            "failures": failure_records(runs),
        }
        return as_json(found, more)
    if format == "table":
        return "".join(f"{line.plain}\n" for line in diff_lines(found, TERMINAL, 100, notes))
    if format == "html":
        return as_html(found, notes, findings)
    return as_markdown(found, [*notes, *judged])
