"""The comparison for other programs: Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from privaudit.report.columns import LATEX, MARKDOWN, columns
from privaudit.report.escape import spreadsheet
from privaudit.report.gates import GateFinding
from privaudit.report.gating.asked import Accepted
from privaudit.report.legend import legend
from privaudit.report.rows import AttackSummary, Comparison, Row, Summary
from privaudit.version import __version__

_COSTS = ("parameters", "multiply_adds", "seconds")
_DIFFERENCE = (
    "difference",
    "difference_low",
    "difference_high",
    "difference_p",
    "difference_p_holm",
    "significant",
)


def as_markdown(
    rows: Sequence[Row],
    metrics: Sequence[str],
    cost: bool = False,
    intervals: bool = False,
    doubts: Sequence[str] = (),
    verdict: Sequence[str] = (),
    gates: Sequence[GateFinding] = (),
) -> str:
    """One table with a column for each attack's metric, the legend as a list, and a paragraph.

    Where there are gates, their sentences and their rows follow.
    """
    table_columns = columns(rows, metrics, MARKDOWN, cost, intervals)
    heads = [
        ": ".join(filter(None, [column.group, " ".join(column.heading)]))
        for column in table_columns
    ]
    rules = [":---" if column.kind == "name" else "---:" for column in table_columns]
    cells = [[column.cells[row].strip() for column in table_columns] for row in range(len(rows))]
    lines = [f"| {' | '.join(line)} |" for line in (heads, rules, *cells)]
    notes = [f"- {line}" for line in (*legend(rows, metrics, MARKDOWN, cost, intervals), *doubts)]
    told = ["", " ".join(map(MARKDOWN.escape, verdict))] if verdict else []
    judged = [f"- {MARKDOWN.escape(line)}" for gate in gates for line in gate.sentences()]
    judged = ["", *judged, "", *_gate_lines(gates)] if gates else []
    return "\n".join([*lines, "", *notes, *told, *judged, ""])


def _gate_lines(gates: Sequence[GateFinding]) -> list[str]:
    """Every attack on every row, and how each gate fares there."""
    heads = ("gate", "attack and network", "answer", "why")
    cells = [
        (gate.gate.text, row.name(gate.several), row.told, row.why)
        for gate in gates
        for row in gate.rows
    ]
    rule = " | ".join([":---"] * len(heads))
    return [
        f"| {' | '.join(heads)} |",
        f"| {rule} |",
        *(f"| {' | '.join(map(MARKDOWN.escape, line))} |" for line in cells),
    ]


def as_latex(
    rows: Sequence[Row],
    metrics: Sequence[str],
    cost: bool = False,
    intervals: bool = False,
    doubts: Sequence[str] = (),
    verdict: Sequence[str] = (),
) -> str:
    """A tabular for the booktabs package, the legend and the sentences as comments."""
    table_columns = columns(rows, metrics, LATEX, cost, intervals)
    groups, rules, start = [], [], 1
    for (kind, label), group in groupby(table_columns, lambda column: (column.kind, column.group)):
        count = len(list(group))
        groups.append(rf"\multicolumn{{{count}}}{{c}}{{{label}}}")
        if kind == "attack":
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    cells = [[column.cells[row].strip() for column in table_columns] for row in range(len(rows))]
    lines = [
        "% needs \\usepackage{booktabs}",
        rf"\begin{{tabular}}{{{''.join('l' if c.kind == 'name' else 'r' for c in table_columns)}}}",
        r"\toprule",
        *([" & ".join(groups) + r" \\", " ".join(rules)] if rules else []),
        " & ".join(" ".join(column.heading) for column in table_columns) + r" \\",
        r"\midrule",
        *(" & ".join(line) + r" \\" for line in cells),
        r"\bottomrule",
        r"\end{tabular}",
        *(f"% {line}" for line in (*legend(rows, metrics, LATEX, cost, intervals), *doubts)),
        *(f"% {LATEX.escape(line)}" for line in verdict),
    ]
    return "\n".join([*lines, ""])


def as_csv(
    rows: Sequence[Row],
    metrics: Sequence[str],
    doubts: Sequence[Mapping[str, Any]] = (),
    failures: Sequence[Mapping[str, Any]] = (),
) -> str:
    """One line for each row and attack; shares 0-1, empty where a number is not known.

    The last columns say whether an attack says nothing, and what is doubted about its run. Where
    something failed there is one column more, and a line of its own for each failure.
    """
    buffer = io.StringIO()
    heads = ["run", "subject", "level", "density", "seeds", "networks"]
    heads += [*_heads("train_accuracy"), *_heads("test_accuracy"), *_COSTS]
    notes = dict.fromkeys(name for row in rows for name in row.notes)
    heads += [spreadsheet(head) for name in notes for head in _heads(f"note: {name}")]
    heads += ["attack", "baseline", "change", *_DIFFERENCE]
    for metric in metrics:
        heads += _heads(metric, interval=True)
    heads += ["says_nothing", "run_doubts", *(["failure"] if failures else [])]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        network = [row.density, row.seeds, row.models, *_numbers(row.train), *_numbers(row.test)]
        network += [getattr(row, name) for name in _COSTS]
        network += [number for name in notes for number in _numbers(row.notes.get(name))]
        names = [spreadsheet(text) for text in (row.run, row.subject, row.level)]
        for label, attack in row.attacks.items():
            line = [*names, *network, spreadsheet(label), spreadsheet(row.baseline), attack.change]
            line += _difference(attack.comparison).values()
            for metric in metrics:
                line += _numbers(attack.metrics[metric], interval=True)
            names_of_doubts = dict.fromkeys(d["name"] for d in doubts if d["run"] == row.run)
            line += [attack.mute, " ".join(names_of_doubts)]
            writer.writerow([*line, *([""] if failures else [])])
    for failure in failures:
        cells = {name: failure[name] for name in ("run", "subject", "level", "attack")}
        cells["failure"] = failure["sentence"]
        writer.writerow([spreadsheet(cells.get(head, "")) for head in heads])
    return buffer.getvalue()


def as_json(
    rows: Sequence[Row],
    metrics: Sequence[str],
    explanation: Mapping[str, Any] | None = None,
    doubts: Sequence[Mapping[str, Any]] = (),
    failures: Sequence[Mapping[str, Any]] = (),
    verdict: Sequence[str] = (),
    gates: Sequence[GateFinding] = (),
    accepted: Sequence[Accepted] = (),
    runs: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The rows as they are: shares 0-1, null where a number is not known.

    What failed altogether has no row, but stands among the failures.
    """
    there = [row for row in rows if "" not in row.failed]
    record: dict[str, Any] = {
        "format": 1,
        "privaudit": __version__,
        "confidence": 0.95,
        "runs": list(runs),
        "verdict": list(verdict),
        "rows": [_plain(row, metrics) for row in there],
        "doubts": list(doubts),
        "failures": list(failures),
        "accepted_doubts": [
            {"run": one.run, "name": one.doubt.name, "about": one.doubt.about, "by": one.source}
            for one in accepted
        ],
        "gates": [gate.record() for gate in gates],
    }
    if explanation is not None:
        record["explain"] = explanation
    return json.dumps(record, indent=1) + "\n"


def _heads(name: str, interval: bool = False) -> list[str]:
    return [
        name,
        *(f"{name}_{suffix}" for suffix in ("std", "low", "high")[: 3 if interval else 1]),
    ]


def _numbers(summary: Summary | None, interval: bool = False) -> list[float | None]:
    if summary is None:
        return [None] * (4 if interval else 2)
    numbers = [summary.mean, summary.std, summary.low, summary.high]
    return numbers if interval else numbers[:2]


def _plain(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "run": row.run,
        "subject": row.subject,
        "level": row.level,
        "density": row.density,
        "seeds": row.seeds,
        "networks": row.models,
        "train_accuracy": _summary(row.train),
        "test_accuracy": _summary(row.test),
        **{name: getattr(row, name) for name in _COSTS},
        "notes": {name: note and _summary(note) for name, note in row.notes.items()},
        "promises": [asdict(promise) for promise in row.promises],
        "baseline": row.baseline,
        "attacks": {label: _attack(attack, metrics) for label, attack in row.attacks.items()},
    }


def _attack(attack: AttackSummary, metrics: Sequence[str]) -> dict[str, Any]:
    summaries = {metric: attack.metrics[metric] for metric in metrics}
    return {
        **{metric: summary and _summary(summary) for metric, summary in summaries.items()},
        "change": attack.change,
        "difference": attack.comparison and _difference_record(attack.comparison),
        "audits": attack.audits,
        "says_nothing": attack.mute,
    }


def _difference(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return dict.fromkeys(_DIFFERENCE)
    numbers = (comparison.value, comparison.low, comparison.high, comparison.p)
    return dict(
        zip(_DIFFERENCE, (*numbers, comparison.adjusted, comparison.significant), strict=True)
    )


def _difference_record(comparison: Comparison) -> dict[str, Any]:
    record = asdict(comparison)
    return {
        **{key: record[key] for key in ("metric", "value", "low", "high", "p")},
        "p_holm": comparison.adjusted,
        "comparisons": comparison.comparisons,
        "significant": comparison.significant,
        "pairs": comparison.pairs,
        "over": comparison.over,
    }


def _summary(summary: Summary) -> dict[str, float]:
    return {key: value for key, value in asdict(summary).items() if value is not None}
