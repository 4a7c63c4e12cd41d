"""precision@k where scores tie, where examples are few, and in runs that are older than it."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction
from itertools import permutations
from math import ceil, floor, isclose
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score

from privaudit import metrics
from privaudit.errors import PrivauditError, RecipeError
from privaudit.gate import judge, parse_gate
from privaudit.report import render
from privaudit.statistics.intervals import clopper_pearson
from privaudit.store.result import load_run

FIRST_VERSION = Path(__file__).parents[1] / "fixtures" / "first_version" / "run"
ALL_MISSING = ["precision@10,precision@100,precision@1000"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-np.inf, -1.0, -0.0, 0.0, np.inf]), st.booleans()),
        min_size=2,
        max_size=6,
    ).filter(lambda rows: len({member for _, member in rows}) == 2),
    st.integers(1, 6),
)
def test_a_tie_is_the_mean_over_its_orders(rows: list[tuple[float, bool]], k: int) -> None:
    scores, members = [score for score, _ in rows], [member for _, member in rows]
    estimate = metrics.precision_at_k(scores, members, k)
    if k > len(rows):
        assert estimate is None
        return
    shares = [
        fmean(member for _, member in sorted(order, key=lambda row: -row[0])[:k])
        for order in permutations(rows)
    ]
    assert estimate is not None
    assert isclose(estimate.value, fmean(shares), abs_tol=1e-12)


@settings(deadline=None)
@given(st.permutations(range(25)), st.integers(1, 24), st.integers(1, 25))
def test_without_ties_it_equals_scikit_learn(scores: list[int], inside: int, k: int) -> None:
    members = np.arange(25) < inside
    called = np.array(scores) >= 25 - k
    estimate = metrics.precision_at_k(scores, members, k)
    assert estimate is not None
    assert isclose(estimate.value, precision_score(members, called), abs_tol=1e-12)


@given(st.fractions(0, 20, max_denominator=1000), st.floats(0.01, 0.99))
def test_the_interval_of_a_fraction_lies_between_its_neighbours(
    count: Fraction, confidence: float
) -> None:
    below, between, above = (
        clopper_pearson(hits, 20, confidence) for hits in (floor(count), float(count), ceil(count))
    )
    assert below.low <= between.low + 1e-12 <= above.low + 2e-12
    assert below.high <= between.high + 1e-12 <= above.high + 2e-12
    assert 0 <= between.low <= between.value <= between.high <= 1


def test_all_examples_and_one_more() -> None:
    scores, members = np.arange(10), np.arange(10) < 3
    whole = metrics.evaluate(scores, members)["precision_at_k"]
    assert whole["10"]["value"] == 0.3  # the share of members, whatever the scores are
    assert whole["100"] is whole["1000"] is None
    assert metrics.evaluate(scores[1:], members[1:])["precision_at_k"]["10"] is None


def test_a_guess_reaches_the_share_of_members() -> None:
    precision = metrics.evaluate(np.zeros(4000), np.arange(4000) < 1000)["precision_at_k"]
    assert {k: interval["value"] for k, interval in precision.items()} == {
        "10": 0.25, "100": 0.25, "1000": 0.25,
    }  # fmt: skip


def test_less_than_one_example_is_refused() -> None:
    for k in (0, -1):
        with pytest.raises(PrivauditError, match="1 or more examples"):
            metrics.precision_at_k([1, 0], [True, False], k)


@pytest.mark.parametrize("text", ["precision@1e1<.9", "precision@010<0.9", "precision@10.0<9e-1"])
def test_k_may_be_spelled_as_any_number(text: str) -> None:
    assert (parse_gate(text).metric, parse_gate(text).limit) == ("precision@10", 0.9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("precision@20<0.9", "unknown metric 'precision@20'; did you mean 'precision@10'?"),
        ("precision@<0.9", "unknown metric 'precision@'"),
        ("precision<0.9", "unknown metric 'precision'"),
        ("precision@nan<0.9", "unknown metric 'precision@nan'"),
        ("auc@<0.9", "unknown metric 'auc@'"),
        ("tpr@10<0.9", "unknown metric 'tpr@10'"),
        ("precision@0.1<0.9", "unknown metric 'precision@0.1'"),
        ("precision@10>0.9", "less is safer, so write precision@10<0.9"),
    ],
)
def test_a_gate_on_another_k_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_gate(text)
    assert message in str(caught.value)


def test_too_few_examples_break_a_gate() -> None:
    record = metrics.evaluate(np.arange(57), np.arange(57) < 30)
    verdict = judge(parse_gate("precision@100<0.99"), {"loss": record})
    assert not verdict.passed
    assert verdict.sentence() == (
        "gate precision@100<0.99: CANNOT BE TOLD, 57 examples are too few: it takes 100 or "
        "more (loss)"
    )


def test_a_run_of_the_first_version_is_loaded_and_lacks_it() -> None:
    run = load_run(FIRST_VERSION)
    assert [audit.metrics["auc"]["value"] for audit in run.audits] == [
        0.49382716049382713, 0.5888888888888889,
    ]  # fmt: skip
    assert all("precision_at_k" not in audit.metrics for audit in run.audits)
    lines = render([run], metrics=["auc", *ALL_MISSING], width=120).splitlines()
    rows = [line.split() for line in lines if line.startswith("halved + smoothed")]
    assert [row[-3:] for row in rows] == [["–"] * 3] * 2
    assert [row[-6] for row in rows] == ["0.494", "0.589"]
    legend = " ".join(" ".join(lines).split())
    assert legend.count("precision@k: the share of members") == 1
    assert (
        "No precision@10, precision@100, precision@1000 for surety: fewer examples than that were "
        "audited, or the run is older than this metric." in legend
    )


def test_the_first_version_s_table_has_not_changed_by_a_character() -> None:
    text = render([load_run(FIRST_VERSION)], metrics=["auc", "tpr@0.1", "advantage"])
    table, _, sentences = text.partition("\n\nNo leak was found")  # they came later
    assert sentences
    assert (
        f"{table}\n"
        == """\
subject            level   nonzero %  train %  test %
─────────────────────────────────────────────────────
halved + smoothed  before     100.00     51.9    63.3
halved + smoothed  after       63.64     55.6    36.7

                           ──────────────── surety ─────────────────
                                                  TPR %
subject            level                    AUC  @ 10 %  advantage %
────────────────────────────────────────────────────────────────────
halved + smoothed  before  0.494 [0.341, 0.648]    25.9         19.3
halved + smoothed  after   0.589 [0.433, 0.729]    25.9         22.2

Each row is 1 network (1 seed).
Brackets hold the 95 % interval over other examples like these, of this one
network; trained again, it may tell more or less.
"""
    )


def test_other_formats_of_the_first_version_s_run() -> None:
    run = load_run(FIRST_VERSION)
    lines = list(csv.DictReader(io.StringIO(render([run], format="csv"))))
    assert [line["precision@10"] for line in lines] == ["", ""]
    assert [line["precision@1000_high"] for line in lines] == ["", ""]
    assert float(lines[0]["tpr@0.1"]) == pytest.approx(7 / 27)
    record = json.loads(render([run], format="json"))
    attack = record["rows"][0]["attacks"]["surety"]
    assert (attack["precision@10"], attack["auc"]["mean"]) == (None, 0.49382716049382713)
    markdown = render([run], format="markdown", metrics=["precision@10"])
    assert "surety: precision % @ 10 |" in markdown
    assert markdown.count("| – |") == 2
    latex = render([run], format="latex", metrics=["precision@10"])
    assert r"precision \% @ 10 \\" in latex
    assert latex.count(r"& -- \\") == 2


def test_a_gate_on_the_first_version_s_run_is_broken() -> None:
    found = {audit.attack: audit.metrics for audit in load_run(FIRST_VERSION).audits}
    verdict = judge(parse_gate("precision@10<0.99"), found)
    assert (verdict.passed, verdict.reached) == (False, None)
    assert judge(parse_gate("auc<0.99"), found).passed
