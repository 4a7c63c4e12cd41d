"""Which subjects leak more or less than their baseline, beyond chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from privaudit.report.escape import plain
from privaudit.report.rows import Comparison, Row, Summary
from privaudit.report.verdict.words import audited, counted, listed, row_name
from privaudit.statistics import table

Way = Literal["less", "more", "mixed", "turned"]

_TURNED = "so far that an attack is wrong more often than right, which is a leak, too"
_WAYS: dict[Way, tuple[str, str]] = {
    "less": ("leaks less", "leak less"),
    "more": ("leaks more", "leak more"),
    "mixed": (
        "leaks less by one attack and more by another",
        "leak less by one attack and more by another",
    ),
    "turned": (f"differs {_TURNED}", f"differ {_TURNED}"),
}
"""What is said of one row, and of several."""

_GUESSING = {"defense": 1.0}
"""Where the metric whose changes are tested stands if the attacker guesses."""

POINTS = "points of defense (at 100 the attacker guesses, at 0 it is always right)"

_OVER = {
    "seeds": "",
    "targets": " on this one split, as there is one seed",
    "examples": " between these networks, of which each row has one",
}
"""What "beyond chance" is about, where it is not about other splits and trainings."""

_NARROWEST = ("examples", "targets", "seeds")


def change_sentence(rows: Sequence[Row]) -> str:
    """Which rows differ from the baseline beyond chance, or how far they may.

    Empty where there is nothing but the baseline.
    """
    rows = audited(rows)
    others = [row for row in rows if not row.matched and not is_baseline(row)]
    tested = [row for row in others if _comparisons(row)]
    if not others:
        return ""
    if not tested:
        return (
            "Whether any subject leaks more or less than its baseline cannot be told, because "
            "nothing could be tested: that takes several networks a row, and an attack that "
            "decides who is a member."
        )
    found = ways_said([(row_name(row, rows), ways(row)) for row in tested])
    baselines = listed(plain(row.baseline) for row in tested)
    comparisons = [each for row in tested for each in _comparisons(row)]
    if found:
        where = _OVER[min((each.over for each in comparisons), key=_NARROWEST.index)]
        return f"Compared with the baseline ({baselines}), beyond chance{where}: {found}."
    room = max(max(abs(each.low), abs(each.high)) for each in comparisons)
    return (
        f"No subject leaks more or less than the baseline ({baselines}) beyond chance "
        f"({counted(len(comparisons), 'comparison')}), which does not make them equal: the "
        f"intervals leave room for differences of up to {100 * room:.1f} {POINTS}."
    )


def is_baseline(row: Row) -> bool:
    """Whether others are compared with it."""
    return row.baseline == row.name


def ways(row: Row) -> set[Way]:
    """How a row differs from its baseline beyond chance, under one attack or another."""
    name = table.changing().name
    return {
        way
        for attack in row.attacks.values()
        if attack.comparison and (way := way_of(attack.comparison, attack.metrics[name]))
    }


def way_of(comparison: Comparison, here: Summary | None) -> Way | None:
    """How a significant difference is to be understood: by the distance from guessing.

    Args:
        comparison: of a row with another.
        here: the same metric of the row.
    """
    if here is None or not comparison.significant:
        return None
    guessing = _GUESSING[comparison.metric]
    before = here.mean - comparison.value - guessing
    surely = here.mean if here.low is None else here.low
    if before < 0 and surely > guessing:
        return "turned"
    return "less" if abs(here.mean - guessing) < abs(before) else "more"


def ways_said(found: Sequence[tuple[str, Iterable[Way]]]) -> str:
    """Who differs and how, such as "2 of 9 leak less (a and b)"; empty where nobody does.

    Args:
        found: the name of each row that was tested, and how it differs.
    """
    parts = []
    told = [(name, _joined(how)) for name, how in found]
    for way, words in _WAYS.items():
        names = [name for name, how in told if way in how]
        if names:
            number = len(names)
            parts.append(f"{number} of {len(found)} {words[number > 1]} ({listed(names)})")
    return "; ".join(parts)


def _joined(how: Iterable[Way]) -> set[Way]:
    """Less by one attack and more by another is neither less nor more."""
    known = set(how)
    return known - {"less", "more"} | {"mixed"} if {"less", "more"} <= known else known


def _comparisons(row: Row) -> list[Comparison]:
    return [attack.comparison for attack in row.attacks.values() if attack.comparison]
