"""What a user may ask of a report: a baseline, an order, which metrics."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from privaudit.errors import RecipeError
from privaudit.report.escape import plain
from privaudit.report.rows import Row, Summary
from privaudit.statistics import table


class Named(Protocol):
    """What has the name of a subject and level."""

    @property
    def subject(self) -> str:
        """Label of the subject."""
        ...

    @property
    def name(self) -> str:
        """Subject and level, as a baseline is named."""
        ...


N = TypeVar("N", bound=Named)

_Key = tuple[bool, float | Sequence[str | int]]


def pick_baselines(runs: Iterable[Sequence[Row]], wanted: str | None) -> dict[str, Row]:
    """The row that each run's rows are compared to, by the run's name.

    Args:
        runs: the rows of each run, in run order.
        wanted: SUBJECT, for its first level, or SUBJECT/LEVEL; a run that lacks it takes it from
            the first run that has it. None: each run's own first row.

    Raises:
        RecipeError: no run has it.
    """
    runs = [rows for rows in runs if rows]
    if wanted is None:
        return {rows[0].run: rows[0] for rows in runs}
    baselines = {rows[0].run: find_level(rows, wanted) for rows in runs}
    first = next((row for row in baselines.values() if row), None)
    if first is None:
        subjects = dict.fromkeys(row.subject for rows in runs for row in rows)
        rows = [row for run_rows in runs for row in run_rows]
        names = [name for row in rows for name in (row.subject, row.name)]
        raise _unknown("--baseline", wanted, names, subjects)
    return {run: row or first for run, row in baselines.items()}


def find_level(rows: Iterable[N], wanted: str) -> N | None:
    """As `pick_level`, but None where there is none."""
    return next((row for row in rows if _is_named(row, wanted)), None)


def pick_level(rows: Sequence[N], wanted: str) -> N:
    """The one of a subject and level.

    Args:
        rows: what there is.
        wanted: SUBJECT, for its first level, or SUBJECT/LEVEL.

    Raises:
        RecipeError: there is none.
    """
    row = find_level(rows, wanted)
    if row is None:
        names = [name for row in rows for name in (row.subject, row.name)]
        raise _unknown("--level", wanted, names, dict.fromkeys(row.name for row in rows))
    return row


def ordered(rows: Iterable[Row], by: str) -> list[Row]:
    """The rows in one of `ORDERS`; those that lack the number come last.

    Raises:
        RecipeError: there is no such order.
    """
    if by not in ORDERS:
        raise _unknown("--sort", by, ORDERS, ORDERS)
    return sorted(rows, key=ORDERS[by])


def default_metrics(rows: Iterable[Row]) -> list[str]:
    """The metrics to show unasked: those of every table, and those that a note stands beside."""
    notes = {name for row in rows for name in row.notes}
    return table.names(lambda metric: metric.by_default or metric.beside in notes)


def pick_metrics(wanted: Sequence[str], default: Sequence[str]) -> list[str]:
    """The metrics to show, in the order asked for; each may be a list with commas.

    Raises:
        RecipeError: there is no such metric.
    """
    names = [name for text in wanted or default for name in _listed(text)]
    valid_names = table.names()
    for name in names:
        if name not in valid_names:
            raise _unknown("--metric", name, valid_names, valid_names)
    return list(dict.fromkeys(names))


def pick_attacks(rows: Iterable[Row], wanted: Sequence[str]) -> list[Row]:
    """The rows with some attacks, in the order asked for; each may be a list with commas.

    Raises:
        RecipeError: no row has been attacked so.
    """
    rows = list(rows)
    labels = dict.fromkeys(label for row in rows for label in (*row.attacks, *sorted(row.failed)))
    names = [n for text in wanted for n in ([text] if text in labels else _listed(text))]
    for name in names:
        if name not in labels:
            raise _unknown("--attack", name, labels, labels)
    return [
        replace(
            row,
            attacks={name: row.attacks[name] for name in names if name in row.attacks},
            failed=row.failed & {*names},
        )
        for row in rows
    ]


def means_only(rows: Iterable[Row]) -> list[Row]:
    """The rows without standard deviations and intervals; what is marked stays marked."""
    return [
        replace(
            row,
            train=_mean(row.train),
            test=_mean(row.test),
            notes={name: summary and _mean(summary) for name, summary in row.notes.items()},
            attacks={
                label: replace(
                    attack,
                    metrics={
                        n: summary and _mean(summary) for n, summary in attack.metrics.items()
                    },
                )
                for label, attack in row.attacks.items()
            },
        )
        for row in rows
    ]


def _mean(summary: Summary) -> Summary:
    return Summary(summary.mean)


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _is_named(row: Named, wanted: str) -> bool:
    return wanted == row.subject or _joined(wanted) == _joined(row.name)


def _joined(name: str) -> str:
    return re.sub(r"\s*[/·]\s*", "/", name.strip())


def _unknown(option: str, value: str, names: Iterable[str], shown: Iterable[str]) -> RecipeError:
    near = difflib.get_close_matches(value, list(names), n=1)
    hint = f"did you mean {plain(near[0])!r}? " if near else ""
    there_are = ", ".join(map(plain, shown)) or "none"
    return RecipeError(f"{option} {plain(value)!r} is not known: {hint}there are {there_are}")


def _natural(text: str) -> list[str | int]:
    # re.split alternates words and digits, so that a word never meets a number.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def _number(value: float | None) -> _Key:
    return value is None, value or 0.0


def _weakest_defense(row: Row) -> _Key:
    defenses = [attack.metrics["defense"] for attack in row.attacks.values()]
    if row.failed:  # perhaps the attack that would have told most
        return _number(None)
    return _number(max((-defense.mean for defense in defenses if defense), default=None))


def _strongest_auc(row: Row) -> _Key:
    aucs = [attack.metrics["auc"] for attack in row.attacks.values()]
    if row.failed:
        return _number(None)
    return _number(max((auc.mean for auc in aucs if auc), default=None))


ORDERS: Mapping[str, Callable[[Row], _Key]] = {
    "density": lambda row: _number(-row.density),
    "test": lambda row: _number(-row.test.mean),
    "defense": _weakest_defense,
    "auc": _strongest_auc,
    "label": lambda row: (False, _natural(row.name)),
}
"""Ways to sort: densest first, most accurate first, best defended against its strongest attack
first, lowest AUC of its strongest attack first, by label."""
