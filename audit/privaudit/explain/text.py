"""The explanation for people: sentences first, then the numbers they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from privaudit.explain import Explanation, Exposure
from privaudit.explain.discoveries import sentences, times
from privaudit.explain.disentangle import Correlation, Disentangled
from privaudit.explain.sentences import answers, cautions, correlation_text, points_text
from privaudit.report.columns import ASCII, TERMINAL, Column, Style
from privaudit.report.fold import folded
from privaudit.report.rows import Summary
from privaudit.report.table import table_lines

if TYPE_CHECKING:
    from rich.console import Console

CLASSES = 5  # how many are printed; JSON has all


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print it at the console's width; in ASCII where it knows no more."""
    style = TERMINAL if console.encoding.startswith("utf") else ASCII
    for line in explanation_lines(explanation, style, console.width):
        console.print(line, soft_wrap=True)


def explanation_lines(explanation: Explanation, style: Style, width: int) -> list[Text]:
    """All lines, none wider than `width` but where one number needs more."""
    several = len({level.run for attack in explanation.attacks for level in attack.levels}) > 1
    lines: list[Text] = []
    if explanation.attacks:
        lines += _disentangled(explanation.attacks, several, style, width)
    for exposure in explanation.exposures:
        if exposure.strongest:
            lines += [Text(), *_exposure(exposure, several, style, width)]
    if explanation.unlabelled:
        names = ", ".join(map(style.escape, explanation.unlabelled))
        lines += [
            Text(),
            *_dim(
                f"Nothing is known about the classes and examples of {names}: a run by this "
                "version keeps what it takes.",
                width,
            ),
        ]
    return lines


def _disentangled(
    attacks: Sequence[Disentangled], several: bool, style: Style, width: int
) -> list[Text]:
    first = attacks[0]
    lines = _bold(
        f"Sparsity, accuracy and privacy, by the strongest attack ({style.escape(first.attack)}, "
        f"mean AUC {first.auc:.3f})",
        width,
    )
    for question, answer in answers(first, style):
        lines += [Text(), *_bold(question, width)]
        lines += [Text(f"  {line}") for line in folded(answer, width - 2)]
    lines.append(Text())
    runs = len({level.run for level in first.levels})
    for sentence in cautions(first, runs, style):
        lines += _dim(sentence, width)
    lines += [Text(), *_bold("Correlations over all networks", width), Text()]
    lines += table_lines(_correlations(attacks, style), [], style, width)
    lines += [*_bold(f"Level by level, against {style.escape(first.attack)}", width), Text()]
    lines += table_lines(_levels(first, several, style), _LEVELS, style, width)
    return lines


_LEVELS = [
    "loss, gain: of the baseline's test accuracy and defense, the share lost or gained; ratio: "
    "gain over loss, where accuracy is lost. The baseline is each run's densest level unless "
    "--baseline names one.",
    "difference: defense of the sparse network minus that of a dense one stopped at its test "
    "accuracy, in points of per cent, with its 95 % interval over seeds.",
]


def _correlations(attacks: Sequence[Disentangled], style: Style) -> list[Column]:
    rows: list[tuple[str, str, Correlation]] = []
    shown: list[Correlation] = []  # attacks on the same networks share one
    for disentangled in attacks:
        label = style.escape(disentangled.attack)
        rows += [
            (label, "sparsity, defense", disentangled.sparsity_defense),
            ("", "sparsity, defense at fixed error", disentangled.given_error),
            ("", "error, defense", disentangled.error_defense),
        ]
        if disentangled.sparsity_error not in shown:
            rows.append(("", "sparsity, error", disentangled.sparsity_error))
            shown.append(disentangled.sparsity_error)
    return [
        Column("name", "", ("attack",), [row[0] for row in rows]),
        Column("name", "", ("correlation of",), [row[1] for row in rows]),
        Column("network", "", ("Pearson",), [correlation_text(row[2].pearson) for row in rows]),
        Column("network", "", ("Spearman",), [correlation_text(row[2].spearman) for row in rows]),
    ]


def _levels(disentangled: Disentangled, several: bool, style: Style) -> list[Column]:
    escape, rows = style.escape, disentangled.levels

    def share(value: float | None, scale: int = 100) -> str:
        return style.missing if value is None else f"{scale * value:z.1f}"

    columns = [
        Column("name", "", ("run",), [escape(row.run) for row in rows]),
        Column("name", "", ("subject",), [escape(row.subject) for row in rows]),
        Column("name", "", ("level",), [escape(row.level) for row in rows]),
    ][0 if several else 1 :]
    columns += [
        Column("network", "", ("nonzero %",), [f"{100 * row.density:.2f}" for row in rows]),
        Column("network", "", ("test %",), [share(row.test_accuracy) for row in rows]),
        Column("network", "", ("defense %",), [share(row.defense) for row in rows]),
        Column("attack", "baseline", ("loss %",), [share(row.accuracy_loss) for row in rows]),
        Column("attack", "baseline", ("gain %",), [share(row.defense_gain) for row in rows]),
        Column("attack", "baseline", ("ratio",), [share(row.ratio, 1) for row in rows]),
    ]
    if any(row.control for row in rows):
        controls = [row.control for row in rows]
        tests = [share(control.control_accuracy if control else None) for control in controls]
        differences = [
            style.missing if control is None else points_text(control.difference)
            for control in controls
        ]
        columns += [
            Column("attack", "matched control", ("test %",), tests),
            Column("attack", "matched control", ("difference",), differences),
        ]
    return columns


def _exposure(exposure: Exposure, several: bool, style: Style, width: int) -> list[Text]:
    run = f"{style.escape(exposure.run)}: " if several else ""
    level = style.escape(" / ".join(filter(None, [exposure.subject, exposure.level])))
    networks = f"{exposure.audits} network{'' if exposure.audits == 1 else 's'}"
    return [
        *_bold(
            f"Who is exposed: {run}{style.escape(exposure.attack)} on {level}, the level "
            f"it tells most about ({networks})",
            width,
        ),
        Text(),
        *table_lines(_classes(exposure, style), _CLASSES, style, width),
        Text(),
        *table_lines(_examples(exposure, style), _EXAMPLES, style, width),
        *(
            line
            for sentence in sentences(exposure.discoveries, exposure.audits)
            for line in _dim(sentence, width)
        ),
    ]


_CLASSES = [
    "The classes whose AUC is surely highest (lower limit); gaps are means of members minus "
    "means of non-members. Of a hundred intervals of 95 %, five miss by chance.",
]
_EXAMPLES = [
    "found: called a member while at most 1 % of non-members are, in so many of the audits in "
    "which it was one; mistaken: likewise while it was none; above: share of non-members that "
    "it scored above as a member.",
]


def _classes(exposure: Exposure, style: Style) -> list[Column]:
    rows = exposure.classes[:CLASSES]

    def number(summary: Summary | None, spec: str, scale: int = 1) -> str:
        if summary is None or summary.low is None or summary.high is None:
            return style.missing
        mean, low, high = (scale * value for value in (summary.mean, summary.low, summary.high))
        return f"{mean:{spec}} [{low:{spec}}, {high:{spec}}]"

    columns = [
        Column("name", "", ("class",), [style.escape(row.name) for row in rows]),
        Column("network", "", ("members",), [str(row.members) for row in rows]),
        Column("network", "", ("non-members",), [str(row.non_members) for row in rows]),
        Column("network", "", ("AUC",), [number(row.auc, ".3f") for row in rows]),
    ]
    if any(row.confidence_gap for row in rows):
        cells = [number(row.confidence_gap, "+.1f", 100) for row in rows]
        columns.append(Column("attack", "gap", ("confidence, points",), cells))
    if any(row.sensitivity_gap for row in rows):
        cells = [number(row.sensitivity_gap, "+.2g") for row in rows]
        columns.append(Column("attack", "gap", ("sensitivity",), cells))
    return columns


def _examples(exposure: Exposure, style: Style) -> list[Column]:
    rows = exposure.examples
    where = [Column("name", "", ("where",), [style.escape(row.where) for row in rows])]
    times_named = [times(row.named, row.member, style.missing) for row in rows]
    named_column = [Column("network", "", ("named",), times_named)]
    return [
        Column("name", "", ("example",), [str(row.example) for row in rows]),
        *(where if any(row.where for row in rows) else ()),
        Column("name", "", ("class",), [style.escape(row.name) for row in rows]),
        Column("network", "", ("found",), [f"{row.found} of {row.member}" for row in rows]),
        Column(
            "network", "", ("mistaken",), [f"{row.mistaken} of {row.non_member}" for row in rows]
        ),
        *(named_column if exposure.discoveries.named else ()),
        Column("network", "", ("above %",), [f"{100 * row.above:.2f}" for row in rows]),
    ]


def _bold(text: str, width: int) -> list[Text]:
    return [Text(line, "bold") for line in folded(text, width)]


def _dim(text: str, width: int) -> list[Text]:
    return [Text(line, "dim") for line in folded(text, width)]
