"""What a diff says in words; not yet escaped where it holds labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from privaudit.diff.columns import shown
from privaudit.diff.values import ACCURACY, Diff, Network, Row
from privaudit.report.legend import OVER, narrowest, scope
from privaudit.report.rows import Comparison

_NOTHING_COMMON = "The runs have no audit in common: nothing is compared."
_SECTIONS = ("recipe", "data", "versions", "device", "plugins")


def nothing_else(found: Diff) -> str:
    """Which sections do not differ; empty where all do."""
    told = {change.section for change in found.changes}
    untold = {name for name in _SECTIONS if any(f" {name} " in text for text in found.untold)}
    same = [name for name in _SECTIONS if name not in told | untold]
    return f"Nothing differs in: {', '.join(same)}." if same else ""


def legend(found: Diff) -> list[str]:
    """How the numbers are to be read, and why others are missing."""
    rows = (*found.networks, *found.rows)
    if not rows:
        return [_NOTHING_COMMON]
    tested = [cell.comparison for row in rows for cell in row.cells.values() if cell.comparison]
    lines = [f"B minus A, means over {_networks(rows)}; brackets hold its 95 % interval."]
    lines += _tests(tested, found.comparisons)
    lines += _pairing(found)
    lines += dict.fromkeys(metric.legend for metric in shown(found) if metric.legend)
    return [*lines, *_reasons(rows)]


def significance(found: Diff) -> str:
    """Whether anything differs beyond chance, in one sentence."""
    rows = (*found.networks, *found.rows)
    if not rows:
        return _NOTHING_COMMON
    tested = [cell.comparison for row in rows for cell in row.cells.values() if cell.comparison]
    if not tested:
        return "Whether anything differs beyond chance cannot be told: nothing could be tested."
    said, *_ = _tests(tested, found.comparisons)
    return f"B {said.removeprefix('* ')}" if said.startswith("* ") else said


def lone_lines(found: Diff) -> list[str]:
    """What only one run has, a line for all levels that are alike in it."""
    lines = []
    for name, other, lone in (("A", "B", found.only_a), ("B", "A", found.only_b)):
        attacks: dict[tuple[str, tuple[Network, ...], str], list[str]] = {}
        for audits in lone:
            key = audits.level_name, audits.networks, audits.failed
            attacks.setdefault(key, []).append(audits.attack)
        levels: dict[tuple[tuple[str, ...], tuple[Network, ...], str], list[str]] = {}
        for (level, networks, failed), labels in attacks.items():
            levels.setdefault((tuple(labels), networks, failed), []).append(level)
        for (same, networks, failed), alike in levels.items():
            why = f"; {other} failed: {failed}" if failed else ""
            what = f"{', '.join(same)} on {', '.join(alike)}"
            lines.append(f"Only in {name}: {what} ({_spelled(networks)}){why}")
    return lines


def _networks(rows: Sequence[Row]) -> str:
    counts = [len(row.networks) for row in rows]
    low, high = min(counts), max(counts)
    number = str(low) if low == high else f"{low} to {high}"
    return f"{number} pair{'' if high == 1 else 's'} of networks, of one seed and target each"


def _tests(tested: Sequence[Comparison], count: int) -> list[str]:
    if not tested:
        return []
    together = f"at 5 % for all {count} comparisons together (Holm)" if count > 1 else "at 5 %"
    how = f"{OVER[narrowest(tested)]}, {together}"
    if all(change.value == change.low == change.high == 0 for change in tested):
        return ["All numbers that are compared are the same in both runs."]
    significant = sum(change.significant for change in tested)
    if significant:
        return [f"* differs significantly ({significant} of {count}): {how}.", *scope(tested)]
    return [
        f"Nothing differs significantly at this sample size: {how}. A difference may be there "
        "all the same.",
        *scope(tested),
    ]


def _pairing(found: Diff) -> list[str]:
    rows, apart = found.rows, sum(not row.by_example for row in found.rows)
    where = "" if apart == len(rows) else f" in {apart} of {len(rows)} rows"
    lines = ["Both runs audited the same examples: intervals are paired by example."]
    if apart:
        lines = [
            f"The runs did not audit the same members and non-members{where}, or have not kept "
            "which: there only examples that both audited are paired, if the data is the same."
        ]
    accuracies = [row.cells[ACCURACY].comparison for row in found.networks]
    if any(tested and tested.low != tested.high for tested in accuracies):
        lines.append(
            "Which examples a network classifies rightly is not kept: for test accuracy the two "
            "count as independent, which is wider."
        )
    return lines


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why numbers, or their intervals, are missing: a line for each reason."""
    by_reason: dict[tuple[str, bool], dict[str, list[str]]] = {}
    for row in rows:
        for name, cell in row.cells.items():
            if cell.reason:
                metrics = by_reason.setdefault((cell.reason, cell.value is None), {})
                metrics.setdefault(name, []).append(row.name)
    lines = []
    for (reason, untold), metrics in by_reason.items():
        opening = "Cannot be told" if untold else "Not tested"
        names = list(dict.fromkeys(name for rows_of in metrics.values() for name in rows_of))
        where = "all rows" if len(names) == _asked(rows, metrics) else several(names)
        lines.append(f"{opening}: {', '.join(metrics)} for {where}, because {reason}.")
    return lines


def _asked(rows: Sequence[Row], metrics: Iterable[str]) -> int:
    return sum(any(name in row.cells for name in metrics) for row in rows)


def several(names: Sequence[str], few: int = 3) -> str:
    """The first few, and how many more there are."""
    more = len(names) - few
    return ", ".join(names[:few]) + (f" and {more} more" if more > 0 else "")


def _spelled(networks: Sequence[Network]) -> str:
    if all(target == 0 for _, target in networks):
        seeds = ", ".join(str(seed) for seed, _ in networks)
        return f"seed{'s' if len(networks) > 1 else ''} {seeds}"
    return "; ".join(f"seed {seed}, target {target}" for seed, target in networks)
