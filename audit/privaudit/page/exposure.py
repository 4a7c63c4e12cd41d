"""Who is exposed: classes, and single examples where somebody asked for them."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.explain import Exposure
from privaudit.explain.classes import ClassExposure
from privaudit.explain.discoveries import sentences, times
from privaudit.explain.examples import ExampleExposure
from privaudit.page.blocks import Block, Folded, Sentences, Table
from privaudit.page.findings import Findings
from privaudit.page.words import level_name, name
from privaudit.report.rows import Summary

_OPEN = 10  # classes that are shown; the others are folded
_MOST = 200  # classes on the page; JSON has all


def classes(findings: Findings) -> list[Block]:
    """The classes of each run's most exposed level, the surest exposed first."""
    blocks: list[Block] = []
    for exposure in findings.explanation.exposures:
        rows = exposure.classes[:_MOST]
        whom = _whom(exposure, findings.several)
        blocks.append(_classes(f"Classes by exposure: {whom}", rows[:_OPEN]))
        if len(rows) > _OPEN:
            rest = _classes(f"Less exposed classes: {whom}", rows[_OPEN:])
            blocks.append(Folded(f"{len(rows) - _OPEN} more classes", [rest]))
        if len(exposure.classes) > _MOST:
            left_out = len(exposure.classes) - _MOST
            line = f"{left_out} less exposed classes are left out here; --format json has all."
            blocks.append(Sentences((line,)))
    if blocks:
        blocks.append(Sentences(_CLASSES))
    unlabelled = ", ".join(map(name, findings.explanation.unlabelled))
    if unlabelled:
        line = f"Nothing is known about the classes of {unlabelled}, which kept no labels."
        blocks.append(Sentences((line,)))
    return blocks


_CLASSES = (
    "First come the classes whose AUC is surely highest, by its lower limit. Gaps are means of "
    "members minus means of non-members. Of a hundred intervals of 95 %, five miss by chance.",
)


def records(findings: Findings) -> list[Block]:
    """The most exposed examples of each run, where single records were asked for."""
    if not findings.records:
        return []
    blocks: list[Block] = []
    for exposure in findings.explanation.exposures:
        blocks += [
            Table(
                f"Examples by exposure: {_whom(exposure, findings.several)}",
                _HEADS,
                tuple(map(_example, exposure.examples)),
                words=2,
            ),
            Sentences(tuple(sentences(exposure.discoveries, exposure.audits))),
        ]
    return [*blocks, Sentences(_EXAMPLES)] if blocks else []


_HEADS = (
    "row of the dataset",
    "class",
    "found",
    "mistaken",
    "named",
    "scored above, % of non-members",
)
_EXAMPLES = (
    "This part names single records of the dataset: whoever reads it learns who was in the "
    "training data.",
    "Found: called a member while at most 1 % of the non-members are, in so many of the audits in "
    "which it was one. Mistaken: likewise while it was none.",
)


def _whom(exposure: Exposure, several: bool) -> str:
    level = level_name(exposure.run if several else "", exposure.subject, exposure.level)
    networks = f"{exposure.audits} network{'' if exposure.audits == 1 else 's'}"
    return f"{name(exposure.attack)} on {level}, which it tells most about ({networks})"


def _classes(caption: str, rows: Sequence[ClassExposure]) -> Table:
    return Table(
        caption,
        ("class", "members", "non-members", "AUC", "confidence gap, points", "sensitivity gap"),
        tuple(
            (
                name(row.name),
                str(row.members),
                str(row.non_members),
                _number(row.auc, ".3f"),
                _number(row.confidence_gap, "+.1f", 100),
                _number(row.sensitivity_gap, "+.2g"),
            )
            for row in rows
        ),
    )


def _example(row: ExampleExposure) -> tuple[str, ...]:
    return (
        str(row.example) + (f" ({name(row.where)})" if row.where else ""),
        name(row.name),
        f"{row.found} of {row.member}",
        f"{row.mistaken} of {row.non_member}",
        times(row.named, row.member, "–"),
        f"{100 * row.above:.2f}",
    )


def _number(summary: Summary | None, shape: str, scale: int = 1) -> str:
    if summary is None:
        return "–"
    mean = f"{scale * summary.mean:{shape}}"
    if summary.low is None or summary.high is None:
        return mean
    return f"{mean} [{scale * summary.low:{shape}}, {scale * summary.high:{shape}}]"
