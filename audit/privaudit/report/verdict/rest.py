"""What is in doubt, and what could not be told."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.doubts.doubt import DOUBTS
from privaudit.report.choose import default_metrics
from privaudit.report.escape import plain
from privaudit.report.rows import Row
from privaudit.report.verdict.words import audited, counted, listed
from privaudit.statistics import table
from privaudit.store.result import RunResult

GRAVITY = (
    "labels",
    "order",
    "inverted",
    "kind",
    "misasked",
    "duplicate_rows",
    "duplicate_network",
    "shadow_counts",
    "shift",
    "chance",
    "shadows_at_chance",
    "unlike",
    "unrelated",
    "promise",
    "bounded_answers",
    "rounded",
    "below_half",
    "says_nothing",
)
"""Doubts, the gravest first: that rows are not what they seem, networks, and at last attacks."""


def rest_sentence(rows: Sequence[Row], results: Sequence[RunResult]) -> str:
    """How many doubts are open, and the gravest; what failed, says nothing, or takes more data."""
    parts = [part for part in (_doubted(results), _untold(rows, results)) if part]
    if not parts:
        return "No doubt about these numbers is open, and no number that was asked for is missing."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _doubted(results: Sequence[RunResult]) -> str:
    doubts = [doubt.name for run in results for doubt in run.doubts]
    if not doubts:
        return ""
    gravest = min(doubts, key=GRAVITY.index)
    which = "it is" if len(doubts) == 1 else "the gravest is"
    verb = "is" if len(doubts) == 1 else "are"
    return f"{counted(len(doubts), 'doubt')} {verb} open, {which} {gravest} ({DOUBTS[gravest]})"


def _untold(rows: Sequence[Row], results: Sequence[RunResult]) -> str:
    known = audited(rows)
    parts = []
    failed = sum(len(run.failures) for run in results)
    if failed:
        parts.append(f"what failed ({counted(failed, 'failure')})")
    silent = [plain(label) for row in known for label, attack in row.attacks.items() if attack.mute]
    if silent:
        parts.append(f"what {listed(silent)} would find where most examples get one score")
    missing = [
        f"{100 * float(metric.path[-1]):g} %"
        for metric in table.named(default_metrics(known))
        if metric.path[0] == "tpr_at_fpr"
        and any(
            attack.metrics.get(metric.name) is None
            for row in known
            for attack in row.attacks.values()
            if not attack.mute
        )
    ]
    if missing:
        parts.append(
            f"how many members an attack finds while it is wrong about {listed(missing)} of "
            "non-members, as there are too few non-members"
        )
    return f"it cannot be told {'; nor '.join(parts)}" if parts else ""
