"""Gates of a recipe: about whom, with those of the command line, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from privaudit.doubts.doubt import Doubt
from privaudit.errors import StoreError
from privaudit.gate import parse_gate
from privaudit.report.gates import GateFinding, judge_runs
from privaudit.report.gating.asked import accepted_doubts
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult, RunResult

LIMITS = {
    ("dense", "", "loss"): 0.9,
    ("imp", "round 1", "loss"): 0.6,
    ("imp", "round 2", "loss"): 0.8,
    ("imp", "round 2", "lira"): 0.55,
}
DOUBT = Doubt("chance", "dense", "it guesses")


def _run(name: str = "run", recipe: dict[str, Any] | None = None, **more: Any) -> RunResult:
    audits = [
        AuditResult(
            subject, level, 0, 0, 1.0, 9, 1.0, 0.8, attack,
            {"auc": {"value": high - 0.02, "low": 1 - high, "high": high}, "tpr_at_fpr": {}},
        )
        for (subject, level, attack), high in LIMITS.items()
    ]  # fmt: skip
    return RunResult(name, recipe or {}, {}, tuple(audits), **more)


def _rule(**about: Any) -> dict[str, Any]:
    return {"gates": [{"gate": "auc<0.7", **about}]}


def _told(finding: GateFinding) -> dict[tuple[str, str, str], str]:
    return {(row.subject, row.level, row.attack): row.told for row in finding.rows}


@pytest.mark.parametrize(
    ("about", "answers"),
    [
        ({}, ["broken", "kept", "broken", "kept"]),
        ({"subjects": ["imp"]}, ["kept", "broken", "kept"]),
        ({"subjects": ["imp/round 1"]}, ["kept"]),
        ({"attacks": ["lira"]}, ["kept"]),
        ({"subjects": ["imp", "dense"], "attacks": ["loss"]}, ["broken", "kept", "broken"]),
        ({"subjects": ["imp/round 3"]}, ["cannot be told"]),
        ({"subjects": ["imp/round 1", "imp/round 3"]}, ["kept", "cannot be told"]),
        ({"subjects": ["dens"], "attacks": ["lira"]}, ["cannot be told", "cannot be told"]),
        ({"subjects": ["imp/round 1"], "attacks": ["loss", "rmia"]}, ["kept", "cannot be told"]),
    ],
)
def test_a_gate_is_about_what_it_names_and_a_name_that_is_not_there_never_passes(
    about: dict[str, Any], answers: list[str]
) -> None:
    (finding,) = judge_runs([], [_run(recipe=_rule(**about))])
    assert list(_told(finding).values()) == answers


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Failure("imp", "out of memory"), "cannot be told"),  # its later levels are not there
        (Failure("imp", "out of memory", "round 1", "lira"), "kept"),
        (Failure("imp", "out of memory", "round 1", "loss"), "cannot be told"),
        (Failure("dense", "out of memory", "", "loss"), "kept"),
    ],
)
def test_a_failure_counts_where_the_gate_is_about_it(failure: Failure, told: str) -> None:
    recipe = _rule(subjects=["imp/round 1"], attacks=["loss"])
    (finding,) = judge_runs([], [_run(recipe=recipe, failures=(failure,))])
    assert finding.told == told


def test_gates_of_the_command_line_and_of_recipes_add_up_and_say_whose_they_are() -> None:
    runs = [
        _run("a", {"gates": ["auc<0.95", "auc<0.7"]}),
        _run("b", {"gates": ["auc<0.95"]}),
        _run("c"),
    ]
    findings = judge_runs([parse_gate("auc<0.95"), parse_gate("tpr@0.01<0.1")], runs)
    told = {f.gate.text: (sorted({row.run for row in f.rows}), f.sources) for f in findings}
    assert told == {
        "auc<0.95": (["a", "b", "c"], ("recipe", "--gate")),
        "auc<0.7": (["a"], ("recipe",)),
        "tpr@0.01<0.1": (["a", "b", "c"], ("--gate",)),
    }
    lines = [finding.sentences()[0] for finding in findings]
    assert lines[0].startswith("gate auc<0.95 (recipe and --gate): kept by all 12 pairs")
    assert lines[1].startswith("gate auc<0.7 (recipe): BROKEN for 2 of 4 pairs")
    assert lines[2].startswith("gate tpr@0.01<0.1: CANNOT BE TOLD")


def test_the_doubts_that_a_recipe_accepts_are_open_in_other_runs() -> None:
    accepting = {"gates": ["auc<0.95"], "accept_doubts": ["chance"]}
    runs = [
        _run("a", accepting, doubts=(DOUBT,)),
        _run("b", {"gates": ["auc<0.95"]}, doubts=(DOUBT,)),
    ]
    (finding,) = judge_runs([], runs)
    assert {(row.run, row.told) for row in finding.rows} == {
        ("a", "kept"),
        ("b", "cannot be told"),
    }
    assert [(one.run, one.source) for one in accepted_doubts(runs, ())] == [("a", "recipe")]
    by = [(one.run, one.source) for one in accepted_doubts(runs, ("chance",))]
    assert by == [("a", "--accept-doubt"), ("b", "--accept-doubt")]


@pytest.mark.parametrize(
    "recipe",
    [
        {"gates": ["auk<0.6"]},
        {"gates": "auc<0.6"},
        {"gates": [{"gate": "auc<0.6", "levels": ["a"]}]},
        {"gates": [7]},
        {"accept_doubts": ["none"]},
    ],
)
def test_a_gate_that_cannot_be_read_stops_everything_in_one_line(recipe: dict[str, Any]) -> None:
    with pytest.raises(StoreError) as caught:
        judge_runs([], [_run(recipe=recipe)])
    (line,) = str(caught.value).splitlines()
    assert "cannot read" in line
    assert line.endswith("run the recipe again, or upgrade privaudit")


@pytest.mark.parametrize("results", [[], [RunResult("empty", {}, {}, ())]])
def test_nothing_to_judge_keeps_no_gate(results: Sequence[RunResult]) -> None:
    (finding,) = judge_runs([parse_gate("auc<0.9")], results)
    assert finding.failed
