"""Which attack finds most, and whether that is more than guessing finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri

from privaudit.doubts.doubt import Doubt
from privaudit.report.escape import plain
from privaudit.report.names import run_names
from privaudit.report.rows import LEVEL, Row, Summary
from privaudit.report.verdict.words import audited, listed, row_name
from privaudit.statistics.table import RATES
from privaudit.store.result import RunResult

_GUESSING = {"auc": 0.5} | {f"tpr@{rate}": float(rate) for rate in RATES if float(rate) < 0.1}
"""What guessing reaches, of the metrics that may show a leak."""

_FOUND = 0.8  # the chance with which a leak of the size that a sentence names would be found

_STANDS = {"below_half", "promise", "says_nothing"}
"""Doubts that leave a leak a leak: it goes the wrong way, is proved, or others find it."""

Leaks = Literal["yes", "no", "untold"]
"""Whether anything leaks: it does, no leak was found, or nobody knows."""


@dataclass(frozen=True)
class _Finding:
    """One number that an attack reached on a row."""

    row: Row
    attack: str
    metric: str
    summary: Summary

    @property
    def ahead(self) -> float:
        """How far from guessing; a rate below that of guessing is no leak, an AUC is one."""
        distance = self.summary.mean - _GUESSING[self.metric]
        return abs(distance) if self.metric == "auc" else distance

    @property
    def reach(self) -> float:
        """From the number to the limit of its interval on the side of guessing."""
        low, high, mean = self.summary.low, self.summary.high, self.summary.mean
        if low is None or high is None:
            return float("inf")
        return mean - low if mean > _GUESSING[self.metric] else high - mean


def leak_sentence(rows: Sequence[Row], results: Sequence[RunResult]) -> str:
    """Whether anything leaks, by the attack that finds most: yes, not seen, or why not told."""
    return leak(rows, results)[1]


def leak(rows: Sequence[Row], results: Sequence[RunResult]) -> tuple[Leaks, str]:
    """The same, with the answer by itself before the sentence."""
    rows = audited(rows)
    findings = _findings(rows)
    aucs = [finding for finding in findings if finding.metric == "auc"]
    if not aucs:
        why = _why_nothing(rows, results)
        return "untold", f"Whether anything leaks cannot be told, because {why}."
    wider = _wider(len(findings))
    leaks = [finding for finding in findings if finding.ahead > wider * finding.reach]
    most = max(
        [finding for finding in leaks if finding.metric == "auc"] or leaks or aucs,
        key=lambda finding: finding.ahead,
    )
    doubts = _doubts(results)
    if leaks:
        open_doubts = _names(doubts[most.row.run], besides=_STANDS)
        places = len({(f.row.run, f.row.name) for f in leaks})
        sentence = f"{_reached(most, rows)}. {_settled(open_doubts, places, len(rows))}."
        return "untold" if open_doubts else "yes", sentence
    open_doubts = _names([d for each in doubts.values() for d in each], besides={"says_nothing"})
    return _none_found(most, wider, len(findings), rows, open_doubts)


def _findings(rows: Sequence[Row]) -> list[_Finding]:
    return [
        _Finding(row, label, name, summary)
        for row in rows
        for label, attack in row.attacks.items()
        if not attack.mute
        for name in _GUESSING
        if (summary := attack.metrics.get(name)) is not None
    ]


def _wider(numbers: int) -> float:
    """How much wider intervals have to be so that all of them hold together (Bonferroni).

    By quantiles of the normal law, also where an interval holds the spread of few seeds: if no
    network leaks, a number is off by its examples alone, whose errors are normal, and no interval
    is narrower than their part.
    """
    return float(ndtri(1 - LEVEL / 2 / max(numbers, 1)) / ndtri(1 - LEVEL / 2))


def _doubts(results: Sequence[RunResult]) -> Mapping[str, Sequence[Doubt]]:
    return {name: run.doubts for name, run in zip(run_names(results), results, strict=True)}


def _names(doubts: Sequence[Doubt], besides: set[str]) -> list[str]:
    return [name for name in dict.fromkeys(doubt.name for doubt in doubts) if name not in besides]


def _reached(finding: _Finding, rows: Sequence[Row]) -> str:
    """What the attack reached, and what guessing would."""
    who = f"The attack {plain(finding.attack)} finds most, on {row_name(finding.row, rows)}"
    made_up = f" (on {plain(finding.row.canaries)} canaries)" if finding.row.canaries else ""
    mean = finding.summary.mean
    if finding.metric != "auc":
        rate = 100 * _GUESSING[finding.metric]
        return (
            f"{who}{made_up}: where it takes {rate:g} % of non-members for members, it finds "
            f"{_percent(finding.summary)} of the members, and guessing would find {rate:g} %"
        )
    scored = "higher" if mean >= 0.5 else "lower"
    return (
        f"{who}{made_up}: it scores a member {scored} than a non-member in "
        f"{100 * max(mean, 1 - mean):.0f} of 100 pairs, where guessing does in 50 (AUC "
        f"{_interval(finding.summary)}; 0.5 is guessing)"
    )


def _settled(open_doubts: Sequence[str], places: int, rows: int) -> str:
    if open_doubts:
        return (
            "Whether this is a leak cannot be told, because of what is in doubt "
            f"({listed(open_doubts)})"
        )
    said = "This is beyond chance: the network leaks who was in its training data"
    if rows == 1:
        return said
    return f"{said}; {places} of {rows} rows {'leaks' if places == 1 else 'leak'}"


def _none_found(
    most: _Finding, wider: float, numbers: int, rows: Sequence[Row], open_doubts: Sequence[str]
) -> tuple[Leaks, str]:
    number = f"AUC {_interval(most.summary)}, where 0.5 is guessing"
    nearest = f"the attack {plain(most.attack)} comes nearest, on {row_name(most.row, rows)}"
    begun = f"{nearest}, with {number}"
    if open_doubts:
        why = f"because of what is in doubt ({listed(open_doubts)}); {begun}"
    elif most.summary.low is None:
        why = f"because the audits have no interval; {begun}"
    elif most.ahead > most.reach:
        why = (
            f"because {begun}: by itself that would count, but of {numbers} numbers looked at one "
            "like it may come by chance"
        )
    else:
        size = 0.5 + most.reach * (wider + float(ndtri(_FOUND) / ndtri(1 - LEVEL / 2)))
        could = (
            f"a leak of AUC {size:.2f} or more would have been found in about "
            f"{100 * _FOUND:.0f} of 100 such audits, and a smaller one cannot be ruled out"
            if size < 1
            else "with so few examples hardly any leak could have been found"
        )
        return "no", f"No leak was found: {begun}; {could}."
    return "untold", f"Whether anything leaks cannot be told, {why}."


def _why_nothing(rows: Sequence[Row], results: Sequence[RunResult]) -> str:
    if rows:
        return "every attack gives most examples the same score, and so says nothing"
    return "every audit failed" if any(run.failures for run in results) else "nothing was audited"


def _interval(summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return f"{summary.mean:.3f}"
    return f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"


def _percent(summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return f"{100 * summary.mean:.1f} %"
    return f"{100 * summary.mean:.1f} % [{100 * summary.low:.1f}, {100 * summary.high:.1f}]"
