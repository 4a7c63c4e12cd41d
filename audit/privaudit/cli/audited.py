"""What `privaudit audit` is asked, and how it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from privaudit.errors import RecipeError
from privaudit.gate import Verdict
from privaudit.messages import plain, unknown
from privaudit.recipe.overrides import apply
from privaudit.report.columns import ASCII, TERMINAL, UNRESOLVABLE, Column, Style
from privaudit.report.table import table_lines
from privaudit.statistics.metrics import RATES

Metrics = Mapping[str, Mapping[str, Any]]


def chosen(names: str, changes: Sequence[str]) -> list[str | dict[str, Any]]:
    """The attacks of `--attacks`, with the options that `--set` gives them.

    Raises:
        RecipeError: a change is about no attack of the list, or cannot be read.
    """
    attacks = [name.strip() for name in names.split(",")]
    data: dict[str, Any] = {"attacks": list(attacks)}
    problems = []
    for change in changes:
        name, dot, rest = change.partition(".")
        if name not in attacks or not dot:
            known = unknown("attack", name, attacks)
            problems.append(f"--set {change}: write it as ATTACK.OPTION=VALUE; {known}")
            continue
        place = f"attacks[{attacks.index(name)}]"
        _, found = apply(data, [f"{place}.{rest}"])
        problems += [each.replace(place, name) for each in found]
    if problems:
        raise RecipeError(*map(plain, problems))
    return list(data["attacks"])


def as_json(metrics: Metrics, verdicts: Sequence[Verdict], confidence: float) -> str:
    """The metrics and gates for other programs: shares 0-1, null where a number is not known."""
    gates = [
        {
            "gate": verdict.gate.text,
            "passed": verdict.passed,
            "attacks": verdict.attacks,
            "reached": verdict.reached,
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
    record = {"format": 1, "confidence": confidence, "attacks": metrics, "gates": gates}
    return json.dumps(record, indent=1, allow_nan=False)


def print_table(metrics: Metrics, confidence: float) -> None:
    """One row for each attack, every number with its interval, at the terminal's width."""
    console = Console()
    style = TERMINAL if console.encoding.startswith("utf") else ASCII
    for line in table_lines(
        _columns(metrics, style), _legend(metrics, confidence, style), style, console.width
    ):
        console.print(line, soft_wrap=True)


def _columns(metrics: Metrics, style: Style) -> list[Column]:
    rows = list(metrics.values())
    cells = [_cell(row["auc"], 1, 3, style.missing) for row in rows]
    found = [
        Column("name", "", ("attack",), [style.escape(label) for label in metrics]),
        Column("attack", "", ("AUC",), cells),
    ]
    if any(row["balanced_accuracy"] for row in rows):
        cells = [_cell(row["balanced_accuracy"], 100, 1, style.missing) for row in rows]
        found.append(Column("attack", "", ("balanced", "accuracy %"), cells))
    for rate in RATES:
        cells = [_cell(row["tpr_at_fpr"][rate], 100, 1, UNRESOLVABLE) for row in rows]
        found.append(Column("attack", "", ("TPR %", f"@ {100 * float(rate):g} %"), cells))
    return found


def _cell(interval: Mapping[str, float] | None, scale: int, digits: int, missing: str) -> str:
    if interval is None:
        return missing
    value, low, high = (f"{scale * interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _legend(metrics: Metrics, confidence: float, style: Style) -> list[str]:
    rows = list(metrics.values())
    lines = [
        f"{rows[0]['members']:,} members and {rows[0]['non_members']:,} non-members; "
        f"brackets hold the {100 * confidence:g} % interval."
    ]
    if undecided := [label for label, row in metrics.items() if not row["balanced_accuracy"]]:
        labels = ", ".join(map(style.escape, undecided))
        lines.append(f"No balanced accuracy for {labels}: no threshold was chosen on shadows.")
    if any(interval is None for row in rows for interval in row["tpr_at_fpr"].values()):
        lines.append(f"{UNRESOLVABLE}: not resolvable with this many non-members.")
    return lines
