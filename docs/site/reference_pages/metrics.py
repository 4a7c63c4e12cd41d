"""The page of metrics, from their table."""

from __future__ import annotations

from privaudit.statistics.metric import Metric
from privaudit.statistics.table import METRICS
from reference_pages.markdown import code, joined, made_from, table

_INTRO = """\
What is measured of every attack on every network. [Read the numbers](../reading.md) says what each
means and how sure it is. `--metric NAME` shows any of them in a report, and a gate such as
`--gate "auc<0.6"` judges a release by one: by its confidence limit, against a number in the given
bounds."""

_HEADS = ("metric", "above its column", "interval", "in reports", "gate")


def page() -> str:
    """The whole page."""
    legends = dict.fromkeys(metric.legend for metric in METRICS if metric.legend)
    return joined(
        made_from("the table in privaudit.statistics"),
        "# Metrics",
        ["", _INTRO, ""],
        table(_HEADS, map(_row, METRICS)),
        ["", "What is said of them below reports that show them:", ""],
        (f"- {legend}" for legend in legends),
    )


def _row(metric: Metric) -> tuple[str, ...]:
    heading = " ".join(metric.heading)
    return code(metric.name), heading, _interval(metric), _shown(metric), _gate(metric)


def _interval(metric: Metric) -> str:
    if metric.bound:
        return "is a limit itself"
    if metric.limits is not None:
        return f"from {code(metric.judged[0])}"
    return "yes" if metric.interval else "no"


def _shown(metric: Metric) -> str:
    if metric.beside:
        return f"beside the note {code(metric.beside)}, or if asked for"
    return "always" if metric.by_default else "if asked for"


def _gate(metric: Metric) -> str:
    if metric.gate is None:
        return f"none: it {metric.ungated}"
    low, high = metric.bounds
    what = "itself" if metric.bound else f"its {metric.side} limit"
    where = f"{low:g} to {high:g}" if high < float("inf") else f"above {low:g}"
    return f"{code(metric.gate)} by {what}, {where}"
