"""Which network withstands its strongest attack best, of those as accurate as the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privaudit.page.findings import Findings
from privaudit.page.words import name, row_name
from privaudit.report.rows import UNEQUAL, AttackSummary, Row, Summary
from privaudit.report.verdict.change import ways
from privaudit.statistics.inference.difference import Over
from privaudit.statistics.table import defense


@dataclass(frozen=True)
class Withstood:
    """How well a row withstands the attack that tells most about it.

    Attributes:
        row: of the comparison.
        attack: label of that attack.
        defense: its defense, or 2 (1 - AUC) where it does not decide who is a member.
    """

    row: Row
    attack: str
    defense: Summary

    @property
    def safety(self) -> float:
        """1 where the attacker guesses, less however it tells: a defense above 1 is a leak, too."""
        return 1 - abs(1 - self.defense.mean)


def safest(findings: Findings) -> list[str]:
    """For each run, the network that is safest at equal accuracy, and how sure that is."""
    return [sentence for _, sentence in surely_safest(findings)]


def surely_safest(findings: Findings) -> list[tuple[bool, str]]:
    """The same, with whether it is safer than the baseline beyond chance.

    A row counts as accurate as the baseline where its mean test accuracy is at most one point
    below. Dense controls and rows on which an attack failed are left out: what failed might have
    told most.
    """
    runs = dict.fromkeys(row.run for row in findings.audited)
    told = [_safest([row for row in findings.audited if row.run == run], findings) for run in runs]
    if not findings.several:
        return told
    return [
        (sure, f"{name(run)}: {sentence}") for run, (sure, sentence) in zip(runs, told, strict=True)
    ]


def withstood(row: Row) -> Withstood | None:
    """The strongest attack on a row; None where none says anything, or one failed."""
    found = [
        Withstood(row, label, summary)
        for label, attack in row.attacks.items()
        if not attack.mute and (summary := _defense(attack)) is not None
    ]
    if row.failed or not found:
        return None
    return min(found, key=lambda one: one.safety)


def _defense(attack: AttackSummary) -> Summary | None:
    decided, auc = attack.metrics["defense"], attack.metrics["auc"]
    if decided is not None and not attack.silent:
        return decided
    if auc is None:
        return None
    low, high = auc.low, auc.high
    limits = (None, None) if low is None or high is None else (defense(high), defense(low))
    return Summary(defense(auc.mean), None, *limits)


def _safest(rows: Sequence[Row], findings: Findings) -> tuple[bool, str]:
    reference = _baseline(rows[0], findings.audited)
    if reference is None:
        return False, "Which network is safest cannot be told: the baseline was not audited."
    level = reference.test.mean
    equal = [row for row in rows if not row.matched and row.test.mean >= level - UNEQUAL]
    known = [one for one in map(withstood, equal) if one is not None]
    if len(known) < 2:
        return False, (
            "Which network is safest at equal accuracy cannot be told: there is no second one "
            f"whose test accuracy is at most one point below the baseline's ({_percent(level)})."
        )
    best = max(known, key=lambda one: one.safety)
    whom = row_name(best.row, findings.several)
    number = f"defense {_interval(best.defense)} against {name(best.attack)}"
    among = (
        f"of {len(known)} networks whose mean test accuracy is at most one point below the "
        f"baseline's ({_percent(level)}), {whom} withstands its strongest attack best ({number}; "
        "100 % is a guess)"
    )
    base = withstood(reference)
    beside = ""
    if base is not None and best.row is not reference:
        beside = f" The baseline has {_interval(base.defense)} against {name(base.attack)}."
    if ways(best.row) == {"less"}:
        return True, (
            f"{whom} is the safest network at equal or better accuracy, and safer than the "
            f"baseline beyond chance{_scope(best.row)}: {among}.{beside} Whether it is safer than "
            "the others was not tested."
        )
    return False, (
        "Which network is safest at equal accuracy cannot be told beyond chance. As far as the "
        f"numbers go, {among}.{beside}"
    )


_SCOPES: dict[Over, str] = {
    "seeds": "",
    "targets": " on this one split",
    "examples": " between these two networks (trained again, they may differ otherwise)",
}


def _scope(row: Row) -> str:
    """What "beyond chance" is about, where it is not about other splits and trainings."""
    tests = [attack.comparison for attack in row.attacks.values() if attack.comparison]
    return _SCOPES[tests[0].over]


def _baseline(row: Row, rows: Sequence[Row]) -> Row | None:
    """The row that another is compared to."""
    for other in rows:
        names = {f"{other.run}: {other.name}"} | ({other.name} if other.run == row.run else set())
        if row.baseline in names:
            return other
    return None


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(summary: Summary) -> str:
    mean = _percent(summary.mean)
    if summary.low is None or summary.high is None:
        return mean
    return f"{mean} [{100 * summary.low:.1f}, {100 * summary.high:.1f}]"
