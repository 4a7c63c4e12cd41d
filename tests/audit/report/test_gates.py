"""Gates held against finished runs: kept, broken, and what cannot be told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from made_up_runs import made_up_run
from privaudit.cli import main
from privaudit.doubts.doubt import Doubt
from privaudit.gate import parse_gate
from privaudit.report.gates import GateFinding, judge_runs
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult, RunResult, load_run
from read_pages import ReadPage

DOUBT = Doubt("labels", "target", "the labels are wrong")
FAILURE = Failure("imp", "out of memory", "round 1", "lira")


def _run(limits: Mapping[tuple[str, str], Sequence[float]], **more: Any) -> RunResult:
    """By subject and attack, the upper limit of the AUC of each seed's network."""
    audits = [
        AuditResult(
            subject, "", seed, 0, 1.0, 9, 1.0, 0.8, attack,
            {"auc": {"value": high - 0.02, "low": 1 - high, "high": high}, "tpr_at_fpr": {}},
        )
        for (subject, attack), highs in limits.items()
        for seed, high in enumerate(highs)
    ]  # fmt: skip
    return RunResult("run", {}, {}, tuple(audits), **more)


def _judged(run: RunResult, gate: str = "auc<0.7", accepted: Sequence[str] = ()) -> GateFinding:
    (finding,) = judge_runs([parse_gate(gate)], [run], accepted)
    return finding


def test_a_gate_is_kept_by_every_network_of_every_row() -> None:
    limits = {("dense", "loss"): (0.6, 0.65), ("dense", "lira"): (0.69, 0.6)}
    finding = _judged(_run(limits))
    assert (finding.told, finding.failed) == ("kept", False)
    assert finding.sentences() == ["gate auc<0.7: kept by all 2 pairs of network and attack"]
    assert [row.reached for row in finding.rows] == [0.65, 0.69]


def test_one_network_above_the_limit_breaks_it_whatever_the_mean_is() -> None:
    limits = {("dense", "loss"): (0.6, 0.6, 0.6, 0.71), ("imp", "loss"): (0.6, 0.9, 0.6, 0.6)}
    finding = _judged(_run({**limits, ("small", "loss"): (0.6,) * 4}))
    assert [row.told for row in finding.rows] == ["broken", "broken", "kept"]
    assert finding.failed
    (line,) = finding.sentences()
    assert line == (
        "gate auc<0.7: BROKEN for 2 of 3 pairs of network and attack: loss on imp (upper "
        "confidence limit 0.9, seed 1) and loss on dense (upper confidence limit 0.71, seed 3)"
    )


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"doubts": (DOUBT,)}, "in doubt (labels): look into it, or accept it by --accept-doubt"),
        ({"failures": (replace(FAILURE, subject="dense", level="", attack="loss"),)}, "it failed"),
        ({"failures": (replace(FAILURE, level="", attack=""),)}, "it failed: out of memory"),
    ],
)
def test_what_is_in_doubt_or_failed_is_neither_kept_nor_broken(
    more: dict[str, Any], reason: str
) -> None:
    finding = _judged(_run({("dense", "loss"): (0.6, 0.6)}, **more))
    assert (finding.told, finding.failed) == ("cannot be told", True)
    (line,) = finding.sentences()
    assert "CANNOT BE TOLD for 1 of" in line
    assert reason in line
    assert "BROKEN" not in line


def test_a_doubt_that_is_accepted_does_not_count_and_no_other_is_accepted_with_it() -> None:
    run = _run({("dense", "loss"): (0.6, 0.6)}, doubts=(DOUBT,))
    assert _judged(run, accepted=["labels"]).told == "kept"
    assert _judged(run, accepted=["shift"]).told == "cannot be told"


def test_numbers_that_break_a_gate_break_it_in_doubt_and_beside_failures() -> None:
    run = _run({("dense", "loss"): (0.8, 0.8)}, doubts=(DOUBT,), failures=(FAILURE,))
    finding = _judged(run)
    assert [row.told for row in finding.rows] == ["broken", "cannot be told"]
    assert finding.told == "broken"


def test_nothing_audited_and_numbers_not_measured_cannot_be_told() -> None:
    assert _judged(_run({})).told == "cannot be told"
    finding = _judged(_run({("dense", "loss"): (0.6,)}), "tpr@0.01<0.5")
    assert finding.told == "cannot be told"
    assert "not measured" in finding.sentences()[0]


def test_for_people_each_of_several_pairs_has_a_line_of_its_own() -> None:
    limits = {("dense", name): (0.6, 0.7 + n / 10) for n, name in enumerate(("a", "b"))}
    assert _judged(_run(limits), "auc<0.65").lines() == [
        "gate auc<0.65: BROKEN for 2 of 2 pairs of network and attack:",
        "    b on dense (upper confidence limit 0.8, seed 1)",
        "    a on dense (upper confidence limit 0.7, seed 1)",
    ]
    doubted = _judged(_run(limits, doubts=(DOUBT,)), "auc<0.9").lines()
    assert doubted[0].startswith("gate auc<0.9: CANNOT BE TOLD for 2 of 2 pairs of network and")
    assert doubted[0].endswith(":")
    assert "in doubt (labels)" in doubted[0]
    assert doubted[1:] == ["    a on dense", "    b on dense"]
    many = {("dense", f"attack{n}"): (0.8,) for n in range(9)}
    told = _judged(_run(many), "auc<0.65")
    assert told.lines()[-1] == "    6 more"
    alone = _judged(_run({("dense", "loss"): (0.8,)}), "auc<0.65")
    assert alone.lines() == alone.sentences()
    assert _judged(_run(limits), "auc<0.9").lines() == [
        "gate auc<0.9: kept by all 2 pairs of network and attack"
    ]


def _report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["privaudit", "report", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    made_up_run(folder, failures=[FAILURE])
    return folder


@pytest.mark.parametrize("format", ["table", "markdown", "json"])
def test_a_report_ends_with_exit_code_3_in_every_format_and_tells_people_why(
    folder: Path,
    format: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (folder, "--format", format, "--attack", "loss", "--gate")
    broken, out, err = _report(monkeypatch, capsys, *words, "auc < 0.6", "--gate", "tpr@1e-3<0.9")
    assert broken == 3
    told = out if format == "table" else err
    assert "gate auc<0.6: BROKEN for 2 of 4 pairs of network and attack:\n    lira on" in told
    assert "gate auc<0.6: CANNOT BE TOLD for 2 of 4" in told
    assert "gate tpr@1e-3<0.9: CANNOT BE TOLD for 4 of 4" in told
    if format == "json":
        gate, other = json.loads(out)["gates"]
        assert other["told"] == "cannot be told"
        assert (gate["gate"], gate["told"], gate["failed"]) == ("auc<0.6", "broken", True)
        assert [row["told"] for row in gate["rows"]].count("broken") == 2
        worst = max(
            max(a.metrics["auc"]["high"], 1 - a.metrics["auc"]["low"])
            for a in load_run(folder).audits
            if (a.subject, a.attack) == ("dense", "lira")
        )
        assert gate["rows"][1]["reached"] == worst
    if format == "markdown":
        assert "| auc&lt;0.6 | lira on dense | broken | upper confidence limit" in out


def test_the_page_shows_gates_beside_the_verdict_and_one_by_one(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "page.html"
    asked = (folder, "--format=html", f"--output={file}", "--gate=auc<0.99", "--gate=tpr@0.01<0.9")
    code, _, err = _report(monkeypatch, capsys, *asked)
    assert code == 3
    assert "gate tpr@0.01<0.9: CANNOT BE TOLD for 4 of 4" in err
    read = ReadPage(file.read_text("utf-8"))
    said = read.said("verdict")
    assert any(line.startswith("gate auc<0.99: CANNOT BE TOLD for 1 of 4") for line in said)
    table = read.table("Gate auc<0.99")
    assert table.heads == ["network", "loss", "lira"]
    assert [cell.split()[0] for row in table.rows for cell in row[1:]] == [
        "kept", "kept", "kept", "?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gate=auc<0.6", "--format=csv"], "--gate is for --format table, markdown, json or"),
        (["--gate=auc<0.6", "--format=latex"], "not latex"),
        (["--gate=auk<0.6"], "did you mean 'auc'?"),
        (["--gate=auc>0.6"], "less is safer"),
        (["--gate=auc<0.6", "--accept-doubt=label"], "did you mean 'labels'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    folder: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = _report(monkeypatch, capsys, folder, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
