"""The lines below a table: what its signs mean, and what it was measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from privaudit.api.kinds.promise import Promise, terms
from privaudit.doubts.attacks import ONE_VERDICT_SAYS
from privaudit.report.columns import MEANINGLESS, Style
from privaudit.report.rows import AttackSummary, Comparison, Row
from privaudit.statistics import table
from privaudit.statistics.inference.difference import Over
from privaudit.statistics.metric import Metric


def legend(
    rows: Sequence[Row],
    metrics: Sequence[str],
    style: Style,
    cost: bool = False,
    intervals: bool = False,
) -> list[str]:
    """A sentence or two each, only about what the table shows; labels are escaped."""
    rows = [row for row in rows if "" not in row.failed]
    if not rows:
        return ["No audits: these runs hold no results."]
    percent = style.escape("%")
    shown = table.named(metrics)
    lines = [_audits(rows, style)]
    if any(metric.marked for metric in shown):
        lines.append(_changes(rows, style))
        lines += _tests(rows, style)
    if not any(_measured(rows, metric) for metric in shown):
        names = ", ".join(metric.name for metric in shown)
        lines.append(style.escape(f"No number: none of these runs measured {names}."))
    sentences = dict.fromkeys(m.legend for m in shown if m.legend and _measured(rows, m))
    lines += map(style.escape, sentences)
    bracketed = intervals or any(metric.cell == "interval" for metric in shown)
    if bracketed and _any(rows, "low"):
        lines += _brackets(rows, percent)
    lines += [style.escape(sentence) for sentence in _absences(rows, shown)]
    if any(metric.name in _OF_VERDICTS for metric in shown):
        lines += [style.escape(sentence) for sentence in _verdicts(rows)]
    lines += [style.escape(sentence) for sentence in _rows_apart(rows)]
    if cost:
        lines.append(
            "Multiply-adds count, for one example, weights that are not zero; time is measured in "
            "batches on the run's own device, once channels that are zero have been cut away."
        )
    for made_up in dict.fromkeys(row.canaries for row in rows if row.canaries):
        lines.append(
            f"Attacks are on {made_up} canaries alone, made up to be remembered; train and test "
            f"{percent} are of all other examples."
        )
    return lines + [style.escape(sentence) for sentence in _promises(rows)]


def _promises(rows: Sequence[Row]) -> list[str]:
    """What the column epsilon promises, once for all rows of the same terms; not yet escaped."""
    if not any("epsilon" in row.notes for row in rows):
        return []
    kinds: dict[Promise, list[tuple[str, Promise]]] = {}
    for row in rows:
        for promise in row.promises:
            kind = replace(promise, epsilon=0.0, trainings=1)
            kinds.setdefault(kind, []).append((row.subject, promise))
    nothing = f"above {MEANINGLESS} it promises nothing."
    if not kinds:
        return [
            "epsilon: of differential privacy, promised for all trainings of a network so far, its "
            f"delta not kept; {nothing}"
        ]
    sentences = []
    for alike in kinds.values():
        names = f" of {', '.join(dict.fromkeys(name for name, _ in alike))}"
        of = names if len(kinds) > 1 else ""
        sentences.append(f"epsilon{of}: {terms([promise for _, promise in alike])}.")
    sentences.append(f"epsilon is what training promises at most; {nothing}")
    if not all("epsilon" in row.notes for row in rows):
        sentences.append(
            "Where epsilon is missing none is promised: no defense makes a promise, a training "
            "went without it, or a sparsifier looked at members beside training, which no noise "
            "covers."
        )
    return sentences


def _measured(rows: Sequence[Row], metric: Metric) -> bool:
    """Whether a table has its column: not if it may hide, and nobody knows it."""
    if not metric.absence.hides:
        return True
    return any(a.metrics[metric.name] is not None for row in rows for a in row.attacks.values())


def _audits(rows: Sequence[Row], style: Style) -> str:
    models = _range([row.models for row in rows], "network")
    seeds = _range([row.seeds for row in rows], "seed")
    if all(row.models == 1 for row in rows):
        return f"Each row is {models} ({seeds})."
    if not _any(rows, "std"):
        return f"Means; each row is {models} ({seeds})."
    return f"mean {style.plus_minus} standard deviation; each row is {models} ({seeds})."


def _any(rows: Sequence[Row], name: str) -> bool:
    """Whether any summary still has its standard deviation, or the limits of its mean."""
    summaries = [summary for row in rows for summary in (row.train, row.test)]
    attacks = [attack for row in rows for attack in row.attacks.values()]
    summaries += [summary for attack in attacks for summary in attack.metrics.values() if summary]
    return any(getattr(summary, name) is not None for summary in summaries)


def _changes(rows: Sequence[Row], style: Style) -> str:
    baselines = "; ".join(
        style.escape(name) for name in dict.fromkeys(row.baseline for row in rows)
    )
    intervals = f"mean {style.plus_minus} standard deviation"
    name = style.escape(table.changing().name)
    if any(attack.change for row in rows for attack in row.attacks.values()):
        return (
            f"{style.better} better, {style.worse} worse than the baseline ({baselines}) by the "
            f"paper's rule: {intervals} of the {name} disjoint. That rule is no test."
        )
    if all(row.models == 1 for row in rows):
        return f"Baseline: {baselines}; the paper's rule needs a spread, and one network has none."
    return f"Baseline: {baselines}; by the paper's rule, which is no test, no {name} is marked."


def _tests(rows: Sequence[Row], style: Style) -> list[str]:
    """Which changes are significant, or that none is at this sample size; labels are escaped."""
    changes = [
        attack.comparison for row in rows for attack in row.attacks.values() if attack.comparison
    ]
    if not changes:
        return []
    name = style.escape(table.changing().name)
    percent, count = style.escape("%"), len(changes)
    number = changes[0].comparisons
    how = f"paired by seed and target, {OVER[narrowest(changes)]}"
    together = f"at 5 {percent} for all {number} comparisons together (Holm)"
    if number == 1:
        together = f"at 5 {percent}"
    significant = sum(change.significant for change in changes)
    if significant:
        line = (
            f"{style.significant} differs significantly from the baseline ({significant} of "
            f"{count}): {how}, {together}."
        )
    else:
        line = (
            f"No {name} differs significantly from the baseline's at this sample size: {how}, "
            f"{together}. A difference may be there all the same."
        )
    return [line, *scope(changes)]


OVER = {
    "seeds": "tested over seeds",
    "targets": "tested over the targets of one seed",
    "examples": "tested over the examples of two networks",
}
"""How a test is told, by what it is over."""


def narrowest(changes: Sequence[Comparison]) -> Over:
    """What the least of the tests is over."""
    return min((change.over for change in changes), key=("examples", "targets", "seeds").index)


def scope(changes: Sequence[Comparison]) -> list[str]:
    """What a significant difference says nothing about; empty where it is over several seeds."""
    over = narrowest(changes)
    if over == "examples":
        return [
            "With one network a row, a significant difference is one between these two networks: "
            "trained again, they may differ otherwise."
        ]
    if over == "targets":
        return [
            "With one seed, a significant difference is one on this split and against these "
            "shadows: more seeds tell of others."
        ]
    return []


def _brackets(rows: Sequence[Row], percent: str) -> list[str]:
    if all(row.models == 1 for row in rows):
        return [
            f"Brackets hold the 95 {percent} interval over other examples like these, of this one "
            "network; trained again, it may tell more or less."
        ]
    lines = [
        f"Brackets hold the 95 {percent} interval; over several networks, that of their mean, "
        "which allows for the examples and networks that they share."
    ]
    if any(row.models > row.seeds == 1 for row in rows):
        lines.append("With one seed it tells nothing of other splits and other shadows.")
    attacks = [attack for row in rows for attack in row.attacks.values()]
    if any(attack.audits > 1 and not attack.by_example for attack in attacks):
        lines.append(
            "Which examples the audits share was not kept (scores.npz is missing or older): seeds "
            "are taken to have examples of their own, unless the recipe gives them one split."
        )
    return lines


def _absences(rows: Sequence[Row], shown: Sequence[Metric]) -> list[str]:
    """Why numbers are missing, once for each reason that occurs; not yet escaped."""
    sentences = []
    for absence in dict.fromkeys(metric.absence for metric in shown if metric.absence.report):
        family = [metric.name for metric in shown if metric.absence == absence]
        lacking = [
            (label, name)
            for row in rows
            for label, attack in row.attacks.items()
            for name in family
            if attack.metrics[name] is None
        ]
        if lacking:
            labels, missing = (dict.fromkeys(column) for column in zip(*lacking, strict=True))
            sentences.append(
                absence.report.format(attacks=", ".join(labels), metrics=", ".join(missing))
            )
    return sentences


_OF_VERDICTS = ("defense", "balanced_accuracy")


def _verdicts(rows: Sequence[Row]) -> list[str]:
    """Which attacks' verdicts are those of guessing by construction; not yet escaped."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        for label, attack in row.attacks.items():
            if not attack.mute:
                counts.setdefault(label, []).append(attack.one_verdict)
    return [
        f"{label}: in {_range([sum(found)], 'audit')} {ONE_VERDICT_SAYS}"
        for label, found in counts.items()
        if any(found)
    ]


def _rows_apart(rows: Sequence[Row]) -> list[str]:
    """Which attacks leave rows out, or score them with less than others; not yet escaped."""
    kinds = {
        "left_out": "are left out, as they lack {lacks}",
        "offline": "are scored with too few shadows that were trained on them",
    }
    sentences = []
    for kind, what in kinds.items():
        most: dict[str, AttackSummary] = {}
        for label, attack in ((label, a) for row in rows for label, a in row.attacks.items()):
            if getattr(attack, kind) > (getattr(most[label], kind) if label in most else 0):
                most[label] = attack
        sentences += [
            f"{label}: up to {getattr(attack, kind)} audited examples of a network "
            f"{what.format(lacks=attack.lacks or 'what it needs')} (result.json names them)."
            for label, attack in most.items()
        ]
    return sentences


def _range(counts: Sequence[int], noun: str) -> str:
    low, high = min(counts), max(counts)
    number = str(low) if low == high else f"{low} to {high}"
    return f"{number} {noun}{'' if high == 1 else 's'}"
