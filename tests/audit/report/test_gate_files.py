"""Gates as JUnit XML and SARIF: what their schemas ask for, and nothing that looks passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from privaudit.doubts.doubt import Doubt
from privaudit.gate import parse_gate
from privaudit.recipe.gates import lines_of_gates
from privaudit.report.gates import GateFinding, GateRow
from privaudit.report.gating.asked import Accepted
from privaudit.report.gating.junit import as_junit
from privaudit.report.gating.sarif import Source, as_sarif

GATE, OTHER = parse_gate("auc<0.6"), parse_gate("tpr@0.01<0.05")
ROWS = (
    GateRow("a", "dense", "", "loss", "kept", "upper confidence limit 0.55 (seed 0)", 0.55),
    GateRow("a", "imp", "round 1", "loss", "broken", "upper confidence limit 0.7 (seed 1)", 0.7),
    GateRow("b", "imp", "", "", "cannot be told", "it failed: <out> & \x1b[31m\u202ememory\ufffe"),
)
FINDINGS = (
    GateFinding(GATE, ROWS, several=True, sources=("recipe",)),
    GateFinding(OTHER, ROWS[:1], several=True),
)
DOUBT = Doubt("chance", "dense, seed 0", "it guesses")

# Of junit-10.xsd, as Jenkins' xunit-plugin has it: attributes (those that must be there first), and
# children. A time is a number with at most three digits after the point.
JUNIT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (
        set(),
        {"name", "time", "tests", "failures", "disabled", "errors"},
        {"testsuite"},
    ),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def _checked(element: ET.Element) -> None:
    required, optional, children = JUNIT[element.tag]
    assert required <= set(element.keys()) <= required | optional
    assert {child.tag for child in element} <= children
    for child in element:
        _checked(child)


def _junit(findings: Any = FINDINGS, accepted: Any = ()) -> ET.Element:
    root = ET.fromstring(as_junit(findings, accepted))
    _checked(root)
    return root


def test_junit_has_a_case_for_each_attack_on_each_row() -> None:
    root = _junit()
    assert {key: root.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
    }
    first, second = root
    assert (first.get("name"), second.get("name")) == (
        "gate auc<0.6 (recipe)",
        "gate tpr@0.01<0.05",
    )
    kept, broken, untold = first
    assert [case.get("name") for case in first] == ["auc<0.6: loss"] * 2 + ["auc<0.6: every attack"]
    assert (kept.get("classname"), list(kept)) == ("a: dense", [])
    assert broken.get("classname") == "a: imp / round 1"
    (failure,) = broken
    assert failure.tag == "failure"
    assert failure.text == failure.get("message")
    assert failure.text == (
        "gate auc<0.6 (recipe): BROKEN for loss on a: imp / round 1: upper confidence limit 0.7 "
        "(seed 1)"
    )
    (error,) = untold
    assert (error.tag, error.get("type")) == ("error", "cannot be told")


def test_no_two_cases_of_a_suite_are_called_alike() -> None:
    for suite in _junit():
        names = [(case.get("classname"), case.get("name")) for case in suite]
        assert len(set(names)) == len(names)


def test_what_no_terminal_and_no_xml_may_hold_is_spelled_out() -> None:
    text = as_junit(FINDINGS)
    assert "&lt;out&gt; &amp; \\x1b[31m\\u202ememory\\ufffe" in text
    assert text.isascii()


def test_a_gate_that_nothing_was_held_against_is_an_error_and_never_an_empty_suite() -> None:
    ((case,),) = _junit([GateFinding(GATE, ())])
    assert [child.tag for child in case] == ["error"]


def test_accepted_doubts_are_told_in_the_cases_of_their_run() -> None:
    accepted = [Accepted("a", DOUBT, "recipe")]
    first, second = _junit(accepted=accepted)
    for case in (*first, *second):
        told = case.find("system-out")
        if str(case.get("classname")).startswith("a: "):
            assert told is not None
            assert told.text == "accepted (recipe): doubt chance (dense, seed 0): it guesses"
        else:
            assert told is None


def _sarif(
    folder: Path, findings: Any = FINDINGS, lines: dict[Any, int] | None = None
) -> dict[str, Any]:
    sources = {
        "a": Source(folder / "a recipe.yaml", lines or {}),
        "b": Source(Path("/elsewhere/b.yaml")),
    }
    text = as_sarif(findings, sources, [Accepted("a", DOUBT, "recipe")])
    return dict(json.loads(text))


def test_sarif_has_what_code_scanning_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = _sarif(tmp_path, lines={GATE: 12})
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "privaudit"
    assert [rule["id"] for rule in driver["rules"]] == ["gate/auc", "gate/tpr@0.01"]
    for rule in driver["rules"]:
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
    broken, untold = run["results"]  # the gate that is kept has none
    for result in (broken, untold):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "gate/auc"
        assert result["level"] == "error"
        assert "kind" not in result  # "fail", of which alone the level may be an error
        assert len(result["partialFingerprints"]["primaryLocationLineHash"]) == 64
    assert [result["properties"]["told"] for result in run["results"]] == [
        "broken",
        "cannot be told",
    ]
    assert "BROKEN for 1 of 2" in broken["message"]["text"]
    assert "CANNOT BE TOLD for 1 of 1" in untold["message"]["text"]
    first, second = (result["locations"][0]["physicalLocation"] for result in (broken, untold))
    assert first == {
        "artifactLocation": {"uri": "a%20recipe.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    assert second["artifactLocation"] == {"uri": "file:///elsewhere/b.yaml"}
    assert second["region"] == {"startLine": 1}
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 3}]
    assert run["properties"]["acceptedDoubts"] == [
        {"run": "a", "name": "chance", "source": "recipe"}
    ]


def test_alerts_keep_their_fingerprint_while_numbers_change(tmp_path: Path) -> None:
    def prints(rows: tuple[GateRow, ...]) -> list[str]:
        (run,) = _sarif(tmp_path, [GateFinding(GATE, rows)])["runs"]
        return [
            result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]
        ]

    other = GateRow("a", "imp", "round 1", "loss", "broken", "upper confidence limit 0.8", 0.8)
    assert prints(ROWS[1:2]) == prints((other,))
    assert len(set(prints(ROWS))) == 2


def test_where_everything_is_kept_there_is_no_alert_and_where_nothing_is_there_is_one(
    tmp_path: Path,
) -> None:
    (kept,) = _sarif(tmp_path, FINDINGS[1:])["runs"]
    assert (kept["results"], kept["invocations"][0]["exitCode"]) == ([], 0)
    (nothing,) = _sarif(tmp_path, [GateFinding(GATE, ())])["runs"]
    assert [result["properties"]["told"] for result in nothing["results"]] == ["cannot be told"]


def test_the_line_of_a_gate_is_that_of_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\ngates:\n  - auc<0.6\n\n  - gate: auc < 0.7\n    subjects: [imp]\n")
    lines = {gate.title: line for gate, line in lines_of_gates(file).items()}
    assert lines == {"auc<0.6": 3, "auc<0.7 on imp": 5}
    for text in ("gates: [", "gates: 3", "- a", "", "gates: [auk<1]"):
        file.write_text(text)
        assert lines_of_gates(file) == {}
    assert lines_of_gates(tmp_path / "nothing") == {}
