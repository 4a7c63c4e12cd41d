from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from privaudit.cli import main
from privaudit.statistics.metrics import evaluate
from privaudit.store.result import AuditResult, RunResult, save_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    metrics = evaluate([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0], decision=[1, 0, 0, 0])
    for name in ("one", "two"):
        audits = tuple(
            AuditResult(subject, "final", seed, 0, 0.5, 9, 1.0, 0.8, "loss", metrics)
            for subject in ("dense", "größer")
            for seed in range(2)
        )
        result = RunResult(name, {}, {}, audits)
        save_run(folder / name, result, recipe_yaml="", scores={"a": np.zeros(1)})
    return folder


def _report(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    quiet = {key: os.environ[key] for key in os.environ if key not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-c", "from privaudit.cli import main; main()", "report", *arguments],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=quiet | environment,
    )


def test_the_table_goes_to_stdout_without_colours(runs: Path) -> None:
    done = _report(runs / "one", runs / "two" / "result.json", COLUMNS="100")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert {"one", "two", "dense", "größer", "50.00", "80.0"} <= set(text.split())


def test_a_run_named_twice_is_shown_once(runs: Path) -> None:
    done = _report(runs / "one", runs / "one" / "result.json", "--format", "json")
    assert [row["run"] for row in json.loads(done.stdout)["rows"]] == ["one", "one"]


def test_cost_adds_columns_to_the_table(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["privaudit", "report", str(runs / "one"), "--cost"])
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert {"parameters", "multiply-adds", "example"} <= set(capsys.readouterr().out.split())


def test_attacks_and_means_alone_are_chosen(runs: Path) -> None:
    done = _report(runs / "one", "--format=markdown", "--attack=loss", "--means")
    text = done.stdout.decode()
    assert done.returncode == 0
    assert "loss: AUC" in text
    assert "| 1.000 |" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert not {"±", "["} & set("".join(table))


def test_other_formats_are_utf_8_whatever_the_terminal_speaks(runs: Path) -> None:
    done = _report(
        runs / "one", "--format=csv", "--sort=label", "--metric=auc,defense", "--metric=tpr@0.1",
        PYTHONIOENCODING="ascii", PYTHONUTF8="0",
    )  # fmt: skip
    assert done.returncode == 0
    lines = list(csv.DictReader(io.StringIO(done.stdout.decode("utf-8"))))
    assert [line["subject"] for line in lines] == ["dense", "größer"]
    assert float(lines[0]["auc"]) == 1.0
    assert "advantage" not in lines[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: no such run"),
        (["one", "--baseline", "dence"], 2, "did you mean 'dense'?"),
        (["one", "--metric", "auk"], 2, "did you mean 'auc'?"),
        (
            ["one", "--attack", "loss,los"],
            2,
            "--attack 'los' is not known: did you mean 'loss'? there are loss",
        ),
        (["one", "--sort", "size"], 2, "size"),
        (["one", "--format", "xml"], 2, "xml"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_is_wrong_is_said_on_stderr(
    runs: Path,
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs)
    monkeypatch.setattr(sys, "argv", ["privaudit", "report", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (code, "")
    assert message in said.err
