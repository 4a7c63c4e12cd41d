"""Every entry of the table of metrics, against scikit-learn, brute force and what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, binomtest, hypergeom
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from typer.testing import CliRunner

from privaudit.cli import app
from privaudit.gate import judge, parse_gate
from privaudit.statistics import table
from privaudit.statistics.metric import Metric
from privaudit.statistics.metrics import (
    epsilon_lower_bound,
    evaluate,
    gaussian_one_run_epsilon,
    one_run_epsilon,
)

Audit = tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]  # scores, members, decision
Reference = Callable[[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], str], float | None]


def _rates(scores: NDArray[Any], members: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """True and false positive rates of every threshold there is, and of none."""
    thresholds = [np.inf, *np.unique(scores)]
    inside, outside = np.sort(scores[members]), np.sort(scores[~members])
    return [
        (
            1 - float(np.searchsorted(inside, threshold)) / len(inside),
            1 - float(np.searchsorted(outside, threshold)) / len(outside),
        )
        for threshold in thresholds
    ]


def _defense(scores: Any, members: Any, decision: Any, key: str) -> float:
    return 2 - 2 * float(balanced_accuracy_score(members, decision))


def _auc(scores: Any, members: Any, decision: Any, key: str) -> float:
    return float(roc_auc_score(members, scores))


def _balanced_accuracy(scores: Any, members: Any, decision: Any, key: str) -> float:
    return float(balanced_accuracy_score(members, decision))


def _best_balanced_accuracy(scores: Any, members: Any, decision: Any, key: str) -> float:
    return max((1 + hit - alarm) / 2 for hit, alarm in _rates(scores, members))


def _advantage(scores: Any, members: Any, decision: Any, key: str) -> float:
    return max(hit - alarm for hit, alarm in _rates(scores, members))


def _tpr(scores: Any, members: Any, decision: Any, key: str) -> float | None:
    if (~members).sum() * float(key) < 1 - 1e-9:
        return None
    return max(hit for hit, alarm in _rates(scores, members) if alarm <= float(key) + 1e-9)


def _precision(scores: Any, members: Any, decision: Any, key: str) -> float | None:
    k = int(key)
    if k > len(scores):
        return None
    cut = np.sort(scores)[-k]
    above, tied = scores > cut, scores == cut
    with np.errstate(all="ignore"):  # of moments that are not asked for
        drawn = hypergeom(tied.sum(), (tied & members).sum(), k - above.sum()).mean()
    return float(((above & members).sum() + drawn) / k)


def _epsilon(scores: Any, members: Any, decision: Any, key: str) -> float:
    return epsilon_lower_bound(scores, members, delta=1 / (10 * members.sum()))


def _one_run_epsilon(scores: Any, members: Any, decision: Any, key: str) -> float:
    return one_run_epsilon(scores, members, delta=1 / (10 * members.sum()))


def _gaussian_epsilon(scores: Any, members: Any, decision: Any, key: str) -> float:
    return gaussian_one_run_epsilon(scores, members, delta=1 / (10 * members.sum()))


REFERENCES: dict[str, Reference] = {
    "defense": _defense,
    "auc": _auc,
    "balanced_accuracy": _balanced_accuracy,
    "best_balanced_accuracy": _best_balanced_accuracy,
    "advantage": _advantage,
    "tpr_at_fpr": _tpr,
    "precision_at_k": _precision,
    "epsilon": _epsilon,  # held against known mechanisms in test_epsilon
    "one_run_epsilon": _one_run_epsilon,
    "gaussian_epsilon": _gaussian_epsilon,
}
"""By the first key of a metric's path: whoever adds an entry adds what it is held against."""

AUDITS = [
    (members, non_members, values, shift)
    for members, non_members in ((2, 3), (40, 60), (1200, 300), (300, 11_000))
    for values in (1, 3, 40, 0)  # so many distinct scores; 0: all of them are
    for shift in (0.0, 1.5)
]


@cache
def _audit(members: int, non_members: int, values: int, shift: float) -> Audit:
    rng = np.random.default_rng([members, non_members, values, int(2 * shift)])
    inside = rng.permutation(members + non_members) < members
    scores = rng.normal(size=len(inside)) + shift * inside
    if values:
        scores = np.clip(np.round(scores * values / 4), 0, values - 1)
    return scores, inside, scores + rng.normal(size=len(inside)) > shift / 2


@cache
def _measured(*audit: Any) -> dict[str, Any]:
    return evaluate(*_audit(*audit), coins=True)


def _value(number: Any) -> Any:
    return number["value"] if isinstance(number, dict) else number


@pytest.mark.parametrize("metric", table.METRICS, ids=lambda metric: metric.name)
def test_every_metric_equals_its_reference(metric: Metric) -> None:
    told = []
    for audit in AUDITS:
        expected = REFERENCES[metric.path[0]](*_audit(*audit), metric.path[-1])
        value = _value(metric.read(_measured(*audit)))
        assert value == (expected if expected is None else pytest.approx(expected, abs=1e-12))
        told.append(value)
    assert len({value for value in told if value is not None}) > 2


@pytest.mark.parametrize("metric", table.METRICS, ids=lambda metric: metric.name)
def test_every_interval_holds_its_value_and_widens_with_confidence(metric: Metric) -> None:
    growth = []
    for audit in AUDITS:
        number = metric.read(_measured(*audit))
        assert number is None or isinstance(number, dict) == metric.interval
        if isinstance(number, dict):
            assert list(number)[:3] == ["value", "low", "high"]
            assert 0 <= number["low"] <= number["value"] <= number["high"] <= 1
            wider = metric.read(evaluate(*_audit(*audit), confidence=0.999))
            growth.append((number["low"] - wider["low"], wider["high"] - number["high"]))
    if metric.interval:
        assert np.min(growth) >= 0
        assert np.max(growth) > 1e-3


def test_the_record_has_the_documented_form() -> None:
    record = evaluate([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0], decision=[1, 0, 0, 0])
    assert json.loads(json.dumps(record)) == record
    form = {key: list(value) if isinstance(value, dict) else [] for key, value in record.items()}
    assert form == {
        "defense": [],
        "balanced_accuracy": ["value", "low", "high"],
        "best_balanced_accuracy": [],
        "advantage": ["value", "low", "high", "reversed"],
        "auc": ["value", "low", "high"],
        "tpr_at_fpr": ["0.1", "0.01", "0.001", "0.0001"],
        "precision_at_k": ["10", "100", "1000"],
        "epsilon": [],
        "one_run_epsilon": [],
        "gaussian_epsilon": [],
        "members": [],
        "non_members": [],
        "delta": [],
        "provable": ["epsilon"],
        "distinct_scores": [],
        "largest_tie": [],
        "largest_verdict": [],
    }


@pytest.mark.parametrize("metric", table.METRICS, ids=lambda metric: metric.name)
def test_an_entry_says_everything(metric: Metric) -> None:
    assert table.named([metric.name]) == [metric]
    assert table.spelled(metric.name) == metric
    assert [other.name for other in table.METRICS if other.path == metric.path] == [metric.name]
    assert 1 <= len(metric.path) <= 2
    assert 1 <= len(metric.heading) <= 2
    assert (metric.gate is None) == bool(metric.ungated)
    assert not (metric.gate and not metric.interval and not metric.judged and not metric.bound)
    assert bool(metric.caveat) == metric.bound
    assert not (metric.cell == "interval" and not metric.interval)


def test_one_metric_is_marked_and_it_is_the_defense() -> None:
    assert table.names(lambda metric: metric.marked) == [table.changing().name] == ["defense"]


@pytest.mark.parametrize("metric", table.METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_in_the_help_texts(metric: Metric) -> None:
    wide = {"COLUMNS": "1000", "TERM": "dumb"}
    words = {
        command: CliRunner()
        .invoke(app, [command, "--help"], env=wide)
        .output.replace(",", " ")
        .replace(";", " ")
        .split()
        for command in ("report", "audit", "diff")
    }
    assert metric.name in words["report"]
    assert metric.name in words["diff"] or f"{metric.name}." in words["diff"]
    gated = f"{metric.name}>NUMBER" if metric.gate == ">" else metric.name
    assert (gated in words["audit"]) == (metric.gate is not None)


@pytest.mark.parametrize(
    "metric", [metric for metric in table.METRICS if metric.gate], ids=lambda metric: metric.name
)
def test_every_gate_looks_at_the_limit_that_speaks_against_the_network(metric: Metric) -> None:
    record = _measured(*(1200, 300) if metric.bound else (300, 11_000), 0, 1.5)
    interval = record["balanced_accuracy"] if metric.judged else metric.read(record)
    limit = interval if metric.bound else interval["high"]
    limit = 2 * (1 - limit) if metric.name == "defense" else limit
    for step in (-1e-6, 1e-6):
        verdict = judge(parse_gate(f"{metric.name}{metric.gate}{limit + step:.12f}"), {"a": record})
        assert verdict.reached == pytest.approx(limit)
        assert verdict.passed == ((step > 0) == (metric.gate == "<"))


@pytest.mark.parametrize(
    "metric", [metric for metric in table.METRICS if metric.gate], ids=lambda metric: metric.name
)
def test_a_metric_that_is_missing_breaks_its_gate(metric: Metric) -> None:
    record = dict(_measured(300, 11_000, 0, 1.5))
    gate = parse_gate(f"{metric.name}{metric.gate}{0.999 if metric.gate == '<' else 0.001}")
    del record[(metric.judged or metric.path)[0]]
    verdict = judge(gate, {"a": record})
    assert (verdict.passed, verdict.reached, verdict.attacks) == (False, None, ("a",))
    assert (
        "CANNOT BE TOLD, not measured, as this result is older than the metric"
        in verdict.sentence()
    )


@pytest.mark.parametrize("key", ["10", "100", "1000"])
def test_the_interval_of_precision_is_that_of_its_beta_quantiles(key: str) -> None:
    whole = fractions = 0
    for audit in AUDITS:
        interval = _measured(*audit)["precision_at_k"][key]
        if interval is None:
            continue
        k = int(key)
        hits = interval["value"] * k
        expected = (
            beta.ppf(0.025, hits, k - hits + 1) if hits > 1e-9 else 0.0,
            beta.ppf(0.975, hits + 1, k - hits) if hits < k - 1e-9 else 1.0,
        )
        assert (interval["low"], interval["high"]) == pytest.approx(expected, abs=1e-7)
        if abs(hits - round(hits)) < 1e-9:
            whole += 1
            exact = binomtest(round(hits), k).proportion_ci(0.95, method="exact")
            assert (interval["low"], interval["high"]) == pytest.approx(tuple(exact), abs=1e-7)
        else:
            fractions += 1
    assert whole > 2
    assert fractions > 2


def test_the_table_and_the_help_texts_wait_for_no_library_of_numbers() -> None:
    script = (
        "import sys, privaudit.statistics.table, privaudit.cli\n"
        "print(sorted({'numpy', 'scipy', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
