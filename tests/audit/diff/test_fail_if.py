"""Conditions that end a pipeline: how they are written, and where they hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diff_runs import run, without
from privaudit.diff import Diff, diff
from privaudit.diff.fail_if import Finding, judge, parse_fail_if
from privaudit.diff.values import Cell, Row
from privaudit.errors import RecipeError
from privaudit.report.rows import Comparison
from privaudit.store.failure import Failure


def _found(**values: float | None) -> Diff:
    """A diff with a row for each value, named by it, of the AUC and of test accuracy."""
    rows, networks = [], []
    for name, value in values.items():
        cell = Cell((0.5,), (0.5,), value, reason="" if value is not None else "nobody knows")
        rows.append(Row(name, "", "loss", ((0, 0),), {"auc": cell}))
        networks.append(Row(name, "", "", ((0, 0),), {"test_accuracy": cell}))
    return Diff("a", "b", False, (), (), tuple(networks), tuple(rows), (), (), ("auc",), 0)


def _judged(text: str, **values: float | None) -> Finding:
    return judge(parse_fail_if(text), _found(**values))


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("auc>+0.02", 0.021, True),
        ("auc>+0.02", 0.02, False),
        ("auc>+0.02", -0.9, False),
        ("auc<-0.01", -0.011, True),
        ("auc<-0.01", -0.01, False),
        ("auc<-0.01", 0.9, False),
        ("|auc|>0.05", 0.051, True),
        ("|auc|>0.05", -0.051, True),
        ("|auc|>0.05", 0.05, False),
        ("|auc|>0.05", -0.05, False),
        ("auc>-0.01", 0.0, True),  # unless it falls by as much
        ("auc>-0.01", -0.02, False),
        ("auc<+0.01", 0.0, True),
        ("auc>+0", 0.0, False),
        ("auc>+0", 1e-12, True),
        ("|auc|>0", -1e-12, True),
        (" auc > + 2e-2 ", 0.021, True),
        ("test_accuracy<-0.01", -0.02, True),
        ("|test_accuracy|>0.01", 0.005, False),
    ],
)
def test_a_condition_holds_where_the_difference_says_so(
    text: str, value: float, holds: bool
) -> None:
    finding = _judged(text, dense=value, same=0.0 if ">+" in text or "<-" in text else value)
    assert (finding.failed, finding.untold) == (holds, {})
    assert ("dense" in [row.subject for row in finding.rows]) == holds
    assert all("HOLDS" in line for line in finding.sentences()) == holds


def test_a_metric_is_spelled_in_any_way() -> None:
    assert parse_fail_if("tpr@1e-2>+0.05").metric == "tpr@0.01"
    assert parse_fail_if("precision@1e2<-0.5").metric == "precision@100"
    assert parse_fail_if("epsilon>+3").limit == 3
    assert parse_fail_if("best_balanced_accuracy>+0.1").metric == "best_balanced_accuracy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is not METRIC>\+NUMBER"),
        ("auc", r"is not METRIC>\+NUMBER"),
        ("auc=0.1", r"is not METRIC>\+NUMBER"),
        ("auc>=+0.1", r"is not METRIC>\+NUMBER"),
        ("auc>", r"is not METRIC>\+NUMBER"),
        (">+0.1", r"is not METRIC>\+NUMBER"),
        ("0.1<auc<0.2", r"is not METRIC>\+NUMBER"),
        ("|auc>0.1", r"is not METRIC>\+NUMBER"),
        ("auc|>0.1", r"is not METRIC>\+NUMBER"),
        ("||>0.1", r"is not METRIC>\+NUMBER"),
        ("auk>+0.1", r"unknown metric 'auk'; did you mean 'auc'\? There are: test_accuracy, def"),
        ("test>+0.1", "unknown metric 'test'"),
        ("auc>0.02", r"write its sign, auc>\+0.02 or auc>-0.02"),
        ("|auc|>+0.02", r"write \|auc\|>NUMBER"),
        ("|auc|<0.02", r"write \|auc\|>NUMBER"),
        ("auc>+two", r"'\+two' must be a number between -1 and 1"),
        ("auc>+2", "must be a number between -1 and 1"),  # per cent
        ("auc<-1", "must be a number between -1 and 1"),
        ("auc>+nan", "must be a number"),
        ("auc>+inf", "must be a number"),
        ("epsilon>+inf", r"'\+inf' must be a number$"),
        ("auc>++0.1", "must be a number"),
        ("|auc|>1", "must be a number between"),
    ],
)
def test_what_is_written_wrongly_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=rf"--fail-if .*{message}") as caught:
        parse_fail_if(text)
    assert caught.value.exit_code == 2


def test_what_a_row_cannot_tell_does_not_pass() -> None:
    finding = _judged("auc>+0.02", dense=0.0, imp=None, other=None)
    assert finding.failed
    assert finding.rows == ()
    assert finding.sentences() == [
        "fail-if auc>+0.02: CANNOT BE TOLD for imp: loss, other: loss, because nobody knows"
    ]
    both = _judged("auc>+0.02", dense=0.5, imp=None)
    assert len(both.sentences()) == 2


def test_no_row_in_common_does_not_pass() -> None:
    finding = _judged("auc>+0.02")
    assert finding.failed
    assert "because they have none in common" in finding.sentences()[0]


def test_what_a_run_failed_at_does_not_pass() -> None:
    failure = Failure("imp", "out of memory", "round 1", "loss")
    whole = run(None)
    broken = replace(without(whole, level="round 1", attack="loss"), failures=(failure,))
    condition = parse_fail_if("auc>+0.5")
    for found, said in (
        (diff(whole, broken), "B failed at what A has: out of memory"),
        (diff(broken, whole), "A failed at what B has: out of memory"),
    ):
        finding = judge(condition, found)
        assert (finding.failed, finding.rows) == (True, ())
        assert said in finding.sentences()[0]
    # What a recipe no longer asks for is no failure.
    dropped = without(whole, level="round 1", attack="loss")
    assert not judge(condition, diff(whole, dropped)).failed


def test_a_number_is_never_rounded_to_where_it_would_not_hold() -> None:
    (line,) = _judged("auc>+0.02", dense=0.0200000001).sentences()
    assert "+0.0200000001" in line
    (line,) = _judged("auc<-0.02", dense=-0.0200000001).sentences()
    assert "-0.0200000001" in line


def test_many_rows_are_counted() -> None:
    (line,) = _judged("auc>+0.02", **{f"s{n}": 0.1 for n in range(9)}).sentences()
    assert "s0: loss (+0.1), s1: loss (+0.1), s2: loss (+0.1) and 6 more" in line
    (line,) = _judged("auc>+0.2", dense=0.1).sentences()
    assert line == "fail-if auc>+0.2: holds for none of 1 rows"


def test_the_interval_stands_beside_the_number() -> None:
    found = _found(dense=0.1)
    tested = Comparison("auc", 0.1, -0.05, 0.25, 0.2, 1, "examples", 0.2)
    cell = replace(found.rows[0].cells["auc"], comparison=tested)
    found = replace(found, rows=(replace(found.rows[0], cells={"auc": cell}),))
    (line,) = judge(parse_fail_if("auc>+0.02"), found).sentences()
    assert line.endswith("dense: loss (+0.1, 95 % interval -0.05 to +0.25)")
