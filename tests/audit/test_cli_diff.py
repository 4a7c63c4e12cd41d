from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diff_runs import run
from privaudit.cli import main
from privaudit.doubts.doubt import Doubt
from privaudit.store.failure import Failure


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run(folder / "a", rows=[("größer", "")])
    run(folder / "b", rows=[("größer", "")], ahead=0.9, changes={"training__epochs": 8})
    return folder


def _diff(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.chdir(runs)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["privaudit", "diff", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0), said.out, said.err


def test_a_pipe_gets_the_table_without_colours(runs: Path) -> None:
    quiet = {key: os.environ[key] for key in os.environ if key not in ("COLUMNS", "FORCE_COLOR")}
    for encoding in ("utf-8", "ascii"):
        done = subprocess.run(
            [sys.executable, "-m", "privaudit", "diff", "a", "b", "--fail-if", "auc>+0.5"],
            cwd=runs,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=quiet | {"COLUMNS": "80", "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        assert "\x1b" not in text
        assert "A: digits epochs=60" in text
        assert "fail-if auc>+0.5: holds for none of 2 rows" in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 0, ""),
        (["--fail-if", "auc>+0.02"], 3, "fail-if auc>+0.02: HOLDS for größer: loss (+0.09"),
        (["--fail-if", "auc<-0.01"], 0, "holds for none of 2 rows"),
        (["--fail-if", "|auc|>0.02"], 3, "fail-if |auc|>0.02: HOLDS"),
        (["--fail-if", "auc<-0.01", "--fail-if", "auc>+0.01"], 3, "fail-if auc>+0.01: HOLDS"),
        (["--fail-if", "tpr@1e-3>+0.1"], 3, "CANNOT BE TOLD for größer: loss, größer: shadow_mlp"),
        (["--fail-if", "test_accuracy<-0.01"], 0, "holds for none of 1 rows"),
        (["--fail-if", "advantage>+0.02"], 3, "fail-if advantage>+0.02: HOLDS"),
    ],
)
def test_conditions_decide_on_the_exit_code(
    runs: Path,
    words: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _diff(runs, monkeypatch, capsys, "a", "b", *words)[0] == code
    # For people on stderr where stdout is for a program.
    ended, out, err = _diff(runs, monkeypatch, capsys, "a", "b", "--format", "json", *words)
    assert ended == code
    assert said in err
    conditions = json.loads(out)["fail_if"]
    assert any(condition["failed"] for condition in conditions) == (code == 3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a", "nowhere"], 1, "nowhere: no such run"),
        (["a", "."], 1, "has no result.json"),
        (["a"], 2, "Missing argument"),
        (["a", "b", "--format", "csv"], 2, "csv"),
        (["a", "b", "--fail-if", "auc>0.1"], 2, "write its sign"),
        (["a", "nowhere", "--fail-if", "auk>+0.1"], 2, "did you mean 'auc'?"),
        (["a", "b", "--output", "nowhere/x"], 1, "cannot write nowhere/x"),
    ],
)
def test_what_is_wrong_is_said_on_stderr(
    runs: Path,
    words: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended, out, err = _diff(runs, monkeypatch, capsys, *words)
    assert (ended, out) == (code, "")
    assert message in err


@pytest.mark.parametrize("format", ["table", "markdown", "json", "html"])
def test_what_is_written_to_a_file_is_what_would_be_printed(
    runs: Path, format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["a", "b", "--format", format]
    code, printed, _ = _diff(runs, monkeypatch, capsys, *words)
    assert code == 0
    code, out, err = _diff(runs, monkeypatch, capsys, *words, "--output", f"diff.{format}")
    assert (code, out, err) == (0, "", "")
    assert (runs / f"diff.{format}").read_text(encoding="utf-8") == printed


def test_one_run_twice_differs_in_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["a", "a/result.json", "--fail-if", "|auc|>0"]
    code, out, _ = _diff(runs, monkeypatch, capsys, *words)
    assert code == 0
    assert "A and B are the same run: nothing differs." in out


@pytest.mark.parametrize("doubtful", ["a", "b"])
def test_a_run_in_doubt_passes_no_condition_unless_that_is_accepted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    doubtful: str,
) -> None:
    for name in ("a", "b"):
        doubts = [Doubt("labels", "dense", "labels are wrong")] if name == doubtful else []
        run(tmp_path / name, seeds=[0], doubts=doubts, changes={"training__epochs": ord(name)})
    words = ["a", "b", "--fail-if", "|auc|>0.5"]
    code, out, _ = _diff(tmp_path, monkeypatch, capsys, *words)
    assert code == 3
    assert "CANNOT BE TOLD for every row, because a run is in doubt (labels)" in out
    assert "--accept-doubt labels" in out
    assert _diff(tmp_path, monkeypatch, capsys, *words, "--accept-doubt", "labels")[0] == 0
    assert _diff(tmp_path, monkeypatch, capsys, *words, "--accept-doubt", "shift")[0] == 3
    code, _, said = _diff(tmp_path, monkeypatch, capsys, *words, "--accept-doubt", "label")
    assert code == 2
    assert "did you mean 'labels'" in said
    assert _diff(tmp_path, monkeypatch, capsys, "a", "b")[0] == 0  # nothing was asked of it


def test_the_doubts_of_the_runs_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = [Failure("cwrf", "out of memory")]
    run(tmp_path / "a", seeds=[0])
    run(tmp_path / "b", seeds=[0], failures=failures)
    code, out, _ = _diff(tmp_path, monkeypatch, capsys, "a", "b")
    assert code == 0
    assert "Failed: cwrf: out of memory" in out
