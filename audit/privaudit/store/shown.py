"""How a result shows itself: in one line, as a table in a notebook, and to pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from statistics import mean
from typing import Any

from privaudit.errors import PrivauditError
from privaudit.messages import plain
from privaudit.statistics import table

_ABOUT = (
    "subject", "level", "seed", "target", "attack", "sparsifier", "defense", "matched", "density",
    "parameters", "train_accuracy", "test_accuracy", "multiply_adds", "seconds",
)  # fmt: skip
_NETWORK = ("subject", "level", "seed", "target")
_SHOWN = ("test_accuracy", "auc", "tpr@0.01", "defense")


def line(name: str, records: Sequence[Mapping[str, Any]], doubts: int, failures: int) -> str:
    """A result in one line.

    Args:
        name: of the run.
        records: its audits, as dictionaries.
        doubts: how many it has.
        failures: how many audits could not be made.
    """
    networks = len({tuple(record[key] for key in _NETWORK) for record in records})
    attacks = len({record["attack"] for record in records})
    counts = [
        _count(len(records), "audit"),
        _count(networks, "network"),
        _count(attacks, "attack"),
        _count(doubts, "doubt"),
        _count(failures, "failure"),
    ]
    return f"<privaudit result {plain(name)!r}: {', '.join(counts)}>"


def flat(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each audit in one row: what it is about, and every metric with its interval.

    Shares are from 0 to 1; None where a number cannot be told. Names are those of the CSV report.
    """
    rows = []
    for record in records:
        row = {key: record[key] for key in _ABOUT}
        for metric in table.METRICS:
            value = metric.read(record["metrics"])
            estimate = value if isinstance(value, Mapping) else {"value": value}
            row[metric.name] = estimate["value"]
            if metric.interval:
                row |= {f"{metric.name}_{end}": estimate.get(end) for end in ("low", "high")}
        rows.append(row)
    return rows


def frame(records: Iterable[Mapping[str, Any]]) -> Any:
    """The rows of `flat` as a DataFrame.

    Raises:
        PrivauditError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise PrivauditError("frames are made by pandas: pip install pandas") from error
    return pandas.DataFrame(flat(records))


def as_html(title: str, records: Sequence[Mapping[str, Any]]) -> str:
    """A table for notebooks: one row for each subject, level and attack, means over its audits."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in flat(records):
        groups.setdefault((row["subject"], row["level"], row["attack"]), []).append(row)
    heads = ("subject", "level", "attack", "audits", *(f"{name} (%)" for name in _SHOWN))
    lines = [_row(heads, "th")]
    for names, rows in groups.items():
        numbers = (_mean([row[name] for row in rows]) for name in _SHOWN)
        lines.append(_row((*names, str(len(rows)), *numbers), "td"))
    body = "\n".join(lines)
    return f"<table>\n<caption>{escape(plain(title))}</caption>\n{body}\n</table>"


def _row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(plain(cell))}</{tag}>' for cell in cells)}</tr>"


def _mean(values: Sequence[float | None]) -> str:
    told = [value for value in values if value is not None]
    return f"{100 * mean(told):.1f}" if told and len(told) == len(values) else "cannot be told"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
