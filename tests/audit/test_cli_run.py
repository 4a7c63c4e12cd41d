"""`privaudit run`, as a person meets it: a plan, progress, a table, and what comes where."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from privaudit.cli import main
from privaudit.cli.progress import Progress
from privaudit.events import AttackDone, EpochDone, FitStarted, LevelReached, SubjectStarted

RECIPE = """
name: small
dataset: digits
split: {members: 40, validation: 10, non_members: 50}
model: {name: mlp, hidden: [8]}
training: {epochs: 2}
sparsifiers: [dense, {name: imp, rounds: 1, label: "[red]pruned"}]
attacks: [loss]
"""


def privaudit_run(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    (folder / "small.yaml").write_text(RECIPE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    command = ["privaudit", "run", "small.yaml", "--cache", "cache", "--device", "cpu", *words]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr("privaudit.cli.run._attach_logging", lambda console: None)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0


def test_a_plan_then_a_run_then_nothing_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    privaudit_run(tmp_path, monkeypatch, "--dry-run")
    plan = capsys.readouterr().out
    assert "2 networks (1 seed x 2)" in plan
    assert "6 trainings remain" in plan  # dense once, pruned twice, for target and shadow
    assert not (tmp_path / "runs").exists()

    privaudit_run(tmp_path, monkeypatch)
    done = capsys.readouterr()
    assert "[red]pruned" in done.out
    assert "results in runs/small-" in done.err.replace("\n", "")
    assert "\x1b" not in done.out + done.err
    assert max(map(len, done.out.splitlines())) <= 80

    privaudit_run(tmp_path, monkeypatch, "--dry-run")
    assert "0 trainings remain" in capsys.readouterr().out


def test_progress_shows_labels_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    with Progress(Console(stderr=True, width=80)) as progress:
        progress(SubjectStarted("[bold]x\x1b[31m", 1, 2))
        progress(FitStarted(2, 0, 3))
        progress(EpochDone(2, 1, 3, 0.5, 0.75, float("nan")))
        progress(LevelReached("round 1", 0.8))
        progress(AttackDone("loss", "round 1", 0.625))
    shown = capsys.readouterr().err
    assert "[bold]x" in shown
    assert "\x1b[31m" not in shown
    assert "80.00% of the weights" in shown
    assert "loss: AUC 0.625" in shown
