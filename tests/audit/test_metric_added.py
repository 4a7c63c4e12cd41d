"""A metric is added in one place: two entries of a table that nobody else has heard of."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from privaudit.cli import audited
from privaudit.errors import RecipeError, StoreError
from privaudit.gate import judge, parse_gate
from privaudit.report import compare, render
from privaudit.statistics import table
from privaudit.statistics.intervals import Estimate
from privaudit.statistics.metric import Absence, Metric
from privaudit.statistics.metrics import evaluate
from privaudit.store.result import AuditResult, RunResult, load_run, save_run

DULL = Absence(
    lambda metric, record: f"too dull: {record['members']} members",
    sign="?!",
    report="No {metrics} for {attacks}: 100 % dull.",
    audit="Dull: {attacks}.",
)
SHARPNESS = Metric(
    name="sharpness@3",
    path=("sharpness", "3"),
    value=lambda case: None if case.decision is None else Estimate(0.25, 0.125, 0.5),
    interval=True,
    heading=("sharp", "ness %"),
    absence=DULL,
    scale=10,
    digits=2,
    legend="sharpness: 100 % of what cuts.",
    by_default=True,
    in_audit=True,
    gate=">",
)
BLUNTNESS = Metric(
    name="bluntness",
    path=("bluntness",),
    value=lambda case: 0.75,
    interval=False,
    heading=("bluntness",),
    absence=DULL,
    scale=1,
    digits=3,
    cell="deviation",
    ungated="has no edge: use sharpness@3",
)


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "METRICS", (*table.METRICS, SHARPNESS, BLUNTNESS))


def _record(decides: bool = True) -> dict[str, Any]:
    return evaluate([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0], [1, 0, 0, 0] if decides else None)


def _run(*decides: bool) -> RunResult:
    audits = tuple(
        AuditResult("dense", "", 0, 0, 1.0, 9, 0.9, 0.8, f"attack {number}", _record(each))
        for number, each in enumerate(decides)
    )
    return RunResult("digits", {}, {}, audits)


def test_it_is_measured_saved_and_loaded(tmp_path: Path) -> None:
    record = _record()
    assert record["sharpness"] == {"3": {"value": 0.25, "low": 0.125, "high": 0.5}}
    assert record["bluntness"] == 0.75
    saved = save_run(tmp_path / "run", _run(True, False), recipe_yaml="", scores={})
    assert load_run(tmp_path / "run") == saved
    path = tmp_path / "run" / "result.json"
    text = path.read_text()
    path.write_text(text.replace('"bluntness": 0.75', '"bluntness": "very"'))
    with pytest.raises(StoreError, match=r"metrics\.bluntness is wrong"):
        load_run(path)
    path.write_text(text.replace('"low": 0.125,', ""))
    with pytest.raises(StoreError, match=r"metrics\.sharpness\.3\.low is missing"):
        load_run(path)


def test_a_run_that_is_older_than_it_is_loaded(tmp_path: Path) -> None:
    save_run(tmp_path / "run", _run(True), recipe_yaml="", scores={})
    path = tmp_path / "run" / "result.json"
    record = json.loads(path.read_text())
    del record["audits"][0]["metrics"]["sharpness"], record["audits"][0]["metrics"]["bluntness"]
    path.write_text(json.dumps(record))
    metrics = compare([load_run(path)])[0].attacks["attack 0"].metrics
    assert metrics["sharpness@3"] is metrics["bluntness"] is None
    assert metrics["auc"] is not None


def test_it_is_a_column_with_its_legend() -> None:
    lines = render([_run(True, False)], width=200).splitlines()
    heads = [line.split("  ") for line in lines[:3]]
    assert sum(text.strip() == "sharp" for text in heads[1]) == 2
    assert sum(text.strip() == "ness %" for text in heads[2]) == 2
    row = next(line for line in lines if line.startswith("dense"))
    assert "  2.50 [1.25, 5.00]" in row
    assert row.endswith("  ?!")
    assert "sharpness: 100 % of what cuts." in lines
    assert "No sharpness@3 for attack 1: 100 % dull." in lines
    assert "bluntness" not in "".join(lines)
    asked = render([_run(True)], metrics=["bluntness"], width=200)
    assert "  0.750\n" in asked
    assert "sharpness" not in asked


def test_its_per_cent_sign_is_escaped() -> None:
    text = render([_run(True, False)], format="latex", metrics=["sharpness@3"])
    assert r"& sharp ness \% & sharp ness \% \\" in text
    assert r"% sharpness: 100 \% of what cuts." in text
    assert r"% No sharpness@3 for attack 1: 100 \% dull." in text


def test_it_is_in_csv_and_json() -> None:
    lines = list(csv.DictReader(io.StringIO(render([_run(True, False)], format="csv"))))
    assert [line["sharpness@3"] for line in lines] == ["0.25", ""]
    assert [line["sharpness@3_high"] for line in lines] == ["0.5", ""]
    assert [line["bluntness"] for line in lines] == ["0.75", "0.75"]
    attacks = json.loads(render([_run(True, False)], format="json"))["rows"][0]["attacks"]
    assert attacks["attack 0"]["sharpness@3"] == {"mean": 0.25, "low": 0.125, "high": 0.5}
    assert attacks["attack 1"]["sharpness@3"] is None


def test_it_is_gated_by_its_lower_limit() -> None:
    kept, broken = parse_gate("sharpness@3.0>0.12"), parse_gate("sharpness@3>0.13")
    assert judge(kept, {"a": _record()}).passed
    verdict = judge(broken, {"a": _record()})
    assert verdict.sentence() == (
        "gate sharpness@3>0.13: CANNOT BE TOLD, lower confidence limit 0.125 (a); a network that "
        "tells nothing breaks it, too, however many examples are audited"
    )
    unknown = judge(kept, {"a": _record(), "b": _record(decides=False)})
    assert unknown.sentence() == "gate sharpness@3.0>0.12: CANNOT BE TOLD, too dull: 2 members (b)"
    with pytest.raises(RecipeError, match=r"more is safer, so write sharpness@3>0\.5"):
        parse_gate("sharpness@3<0.5")
    with pytest.raises(RecipeError, match="bluntness has no edge: use sharpness@3"):
        parse_gate("bluntness<0.5")


def test_the_audit_of_outputs_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    audited.print_table({"a": _record(), "b": _record(decides=False)}, 0.95)
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("a ")).endswith("  2.50 [1.25, 5.00]")
    assert next(line for line in lines if line.startswith("b ")).endswith("  ?!")
    assert "Dull: b." in lines
    assert "bluntness" not in "".join(lines)
    audited.print_table({"b": _record(decides=False)}, 0.95)
    alone = capsys.readouterr().out
    assert "sharp" in alone  # what may not hide is shown without a single number
    assert "accuracy %" not in alone
    assert "No balanced accuracy for b: no threshold was chosen on shadows." in alone


def test_the_help_texts_name_it() -> None:
    script = """
from dataclasses import replace
from privaudit.statistics import table
auc, best = table.named(["auc", "best_balanced_accuracy"])
added = replace(auc, name="sharpness@3", gate=">"), replace(best, name="bluntness")
table.METRICS = (*table.METRICS, *added)
from typer.testing import CliRunner
from privaudit.cli import app
for command in ("report", "audit"):
    print("@@" + CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "1000"}).output)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    _, report, audit = done.stdout.split("@@")
    assert "gaussian_epsilon, sharpness@3, bluntness; repeatable." in report
    assert "defense>NUMBER, sharpness@3>NUMBER, by its lower limit; or" in audit
    assert "bluntness" not in audit
