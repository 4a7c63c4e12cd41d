"""What `privaudit audit` is asked, and how it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

from rich.console import Console

from privaudit.doubts.attacks import ONE_VERDICT_SAYS, mute, one_verdict
from privaudit.doubts.doubt import Doubt, in_doubt
from privaudit.errors import RecipeError
from privaudit.gate import Gate, Verdict, judge
from privaudit.messages import plain, unknown
from privaudit.recipe.overrides import apply
from privaudit.report.columns import ASCII, MUTE, TERMINAL, Column, Style, absent, headed
from privaudit.report.gates import GateFinding, GateRow
from privaudit.report.inputs import file_record
from privaudit.report.table import table_lines
from privaudit.statistics import table
from privaudit.statistics.metric import Metric
from privaudit.statistics.scored import row_sentences
from privaudit.version import __version__

Metrics = Mapping[str, Mapping[str, Any]]


def chosen(names: str | None, changes: Sequence[str]) -> list[str | dict[str, Any]] | None:
    """The attacks of `--attacks`, with the options that `--set` gives them; None for all.

    Raises:
        RecipeError: a change is about no attack of the list, or cannot be read.
    """
    if names is None:
        if changes:
            raise RecipeError(f"--set {changes[0]}: name the attacks by --attacks as well")
        return None
    attacks = [name.strip() for name in names.split(",")]
    data: dict[str, Any] = {"attacks": list(attacks)}
    problems = []
    for change in changes:
        name, dot, rest = change.partition(".")
        if name not in attacks or not dot:
            hint = unknown("attack", name, attacks)
            problems.append(f"--set {change}: write it as ATTACK.OPTION=VALUE; {hint}")
            continue
        path = f"attacks[{attacks.index(name)}]"
        _, mistakes = apply(data, [f"{path}.{rest}"])
        problems += [mistake.replace(path, name) for mistake in mistakes]
    if problems:
        raise RecipeError(*map(plain, problems))
    return list(data["attacks"])


@dataclass(frozen=True)
class Made:
    """What an audit was made from, and by what.

    Attributes:
        files: those that were read; names, sizes and SHA-256 of them stand in the JSON.
        attacks: every option of each attack, by its label.
        kind: what the arrays hold.
        seed: of the attacks' own randomness.
        confidence: of every interval.
        delta: of the bounds on epsilon; None: one over ten times the members.
        coins: whether a fair coin of its own decided on each row's membership.
        read: how the files were understood.
        left_out: attacks that they do not allow, where none were named.
        accuracy: of the network on members and on non-members.
    """

    files: Sequence[Path]
    attacks: Mapping[str, Mapping[str, Any]]
    kind: str
    seed: int
    confidence: float
    delta: float | None
    coins: bool
    read: Sequence[str] = ()
    left_out: Sequence[str] = ()
    accuracy: tuple[float, float] = (nan, nan)


def as_json(
    metrics: Metrics,
    verdicts: Sequence[Verdict],
    made: Made,
    doubts: Sequence[Doubt],
    accepted: Sequence[str],
) -> str:
    """Metrics, doubts and gates for other programs: shares 0-1, null where nothing is known.

    Args:
        metrics: by the attack's label.
        verdicts: of the gates.
        made: from what, and how.
        doubts: about this audit, accepted or not.
        accepted: names of doubts that the user accepts, seen or not.

    Raises:
        DataError: a file cannot be read any more.
    """
    gates = [
        {
            "gate": verdict.gate.text,
            "passed": verdict.passed,
            "told": verdict.told,
            "caveat": verdict.caveat,
            "attacks": verdict.attacks,
            "reached": verdict.reached,
            "reversed": verdict.reversed,
            "doubts": verdict.doubts,
            "sample": verdict.sample,
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
    record = {
        "format": 1,
        "privaudit": __version__,
        "files": [file_record(path) for path in made.files],
        "read": list(made.read),
        "kind": made.kind,
        "left_out": list(made.left_out),
        "accuracy": dict(zip(("members", "non_members"), made.accuracy, strict=True)),
        "options": made.attacks,
        "seed": made.seed,
        "confidence": made.confidence,
        "delta": made.delta,
        "coins": made.coins,
        "attacks": metrics,
        "doubts": [{**asdict(doubt), "accepted": doubt.name in accepted} for doubt in doubts],
        "accepted_doubts": accepted,
        "gates": gates,
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def findings_of(
    gates: Sequence[Gate],
    metrics: Metrics,
    opened: Sequence[Doubt],
    confidence: float,
    name: str,
) -> list[GateFinding]:
    """The gates held against each attack by itself, for files that have a place for each.

    Args:
        gates: the limits.
        metrics: by the attack's label.
        opened: doubts that nobody has accepted.
        confidence: of the metrics' intervals.
        name: of what was audited.
    """
    return [
        GateFinding(
            gate, tuple(_row(gate, label, metrics, opened, confidence, name) for label in metrics)
        )
        for gate in gates
    ]


def _row(
    gate: Gate,
    label: str,
    metrics: Metrics,
    opened: Sequence[Doubt],
    confidence: float,
    name: str,
) -> GateRow:
    verdict = judge(gate, {label: metrics[label]}, opened, confidence)
    why = verdict.because().replace(f" ({label})", "", 1)
    if verdict.doubted:
        why = f"the audit is {in_doubt(verdict.doubts)}"
    elif verdict.sample:
        why = verdict.sample
    return GateRow(name, name, "", label, verdict.told, why, verdict.reached)


def print_table(
    metrics: Metrics, confidence: float, console: Console | None = None, accuracy: str = ""
) -> None:
    """One row for each attack, every number with its interval, at the console's width.

    Args:
        metrics: by the attack's label.
        confidence: of the intervals.
        console: to print to.
        accuracy: what is said of the network itself.
    """
    console = console or Console()
    style = TERMINAL if console.encoding.startswith("utf") else ASCII
    for line in table_lines(
        _columns(metrics, style),
        _legend(metrics, confidence, style, accuracy),
        style,
        console.width,
    ):
        console.print(line, soft_wrap=True)


def _shown() -> list[Metric]:
    return [metric for metric in table.METRICS if metric.in_audit]


def _columns(metrics: Metrics, style: Style) -> list[Column]:
    names = [style.escape(label) for label in metrics]
    return [
        Column("name", "", ("attack",), names),
        *(
            Column("attack", "", headed(metric, style), cells)
            for metric in _shown()
            if (cells := _cells(metric, metrics, style))
        ),
    ]


def _cells(metric: Metric, metrics: Metrics, style: Style) -> list[str]:
    """One for each attack; none where the column is left out."""
    intervals = [None if mute(m) else metric.read(m) for m in metrics.values()]
    if metric.absence.hides and all(interval is None for interval in intervals):
        return []
    return [
        MUTE
        if mute(record)
        else absent(metric, style)
        if interval is None
        else _cell(interval, metric.scale, metric.digits)
        for interval, record in zip(intervals, metrics.values(), strict=True)
    ]


def _cell(interval: Mapping[str, float] | float, scale: int, digits: int) -> str:
    if not isinstance(interval, Mapping):
        return f"{scale * interval:.{digits}f}"
    value, low, high = (f"{scale * interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _legend(metrics: Metrics, confidence: float, style: Style, accuracy: str) -> list[str]:
    rows = list(metrics.values())
    lines = [
        f"{rows[0]['members']:,} members and {rows[0]['non_members']:,} non-members; "
        f"brackets hold the {100 * confidence:g} % interval.",
        *filter(None, [accuracy]),
    ]
    for label, record in metrics.items():
        lines += map(style.escape, row_sentences(label, record))
        if one_verdict(record) and not mute(record):
            lines.append(style.escape(f"{label}: {ONE_VERDICT_SAYS}"))
    shown = _shown()
    for metric in shown:
        if metric.bound and any(metric.read(record) is not None for record in rows):
            lines.append(style.escape(metric.legend))
    for absence in dict.fromkeys(metric.absence for metric in shown if metric.absence.audit):
        family = [metric for metric in shown if metric.absence == absence]
        lacking = [
            label
            for label, record in metrics.items()
            if any(metric.read(record) is None for metric in family)
        ]
        if lacking:
            sentence = absence.audit.format(
                attacks=", ".join(lacking), metrics=", ".join(metric.name for metric in family)
            )
            lines.append(style.escape(sentence))
    return lines
