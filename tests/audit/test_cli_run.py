"""`privaudit run`, as a person meets it: a plan, progress, a table, and what comes where."""

from __future__ import annotations

import io
import logging
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from privaudit.cli import main
from privaudit.cli.progress import Progress
from privaudit.events import (
    AttackDone,
    BelievedDone,
    BelievedStarted,
    EpochDone,
    FitDone,
    FitStarted,
    LevelReached,
    RunStarted,
    SubjectStarted,
)

RECIPE = """
name: small
dataset: digits
split: {members: 40, validation: 10, non_members: 50}
model: {name: mlp, hidden: [8]}
training: {epochs: 2}
sparsifiers: [dense, {name: imp, rounds: 1, label: "[red]pruned"}]
attacks: [loss]
"""


def privaudit_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0
) -> None:
    (folder / "small.yaml").write_text(RECIPE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    command = ["privaudit", "run", "small.yaml", "--cache", "cache", "--device", "cpu", *words]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr("privaudit.cli.run._attach_logging", lambda console: None)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code


def test_who_interrupts_a_run_is_told_that_nothing_finished_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("privaudit.experiment.running.run", interrupted)
    privaudit_run(tmp_path, monkeypatch, code=130)
    told = " ".join(capsys.readouterr().err.split())
    assert told == "stopped: trainings that are finished are kept, and the same command goes on"


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
    last = " ".join(done.out[done.out.rindex("\n\n") :].split())
    assert "leak" in last  # the sentences, which say whether anything does or cannot be told

    privaudit_run(tmp_path, monkeypatch, "--quiet", "--output", "again")
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert " ".join(quiet.out.split()) == last

    privaudit_run(tmp_path, monkeypatch, "--dry-run")
    assert "0 trainings remain" in capsys.readouterr().out


def test_a_gate_is_read_before_anything_is_trained_and_judged_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    privaudit_run(tmp_path, monkeypatch, "--gate", "auk<0.7", code=2)
    assert "did you mean 'auc'?" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    small = ("--set", "seeds=1", "--set", "sparsifiers=[dense]", "--quiet", "--processes", "1")
    privaudit_run(tmp_path, monkeypatch, *small, "--gate", "tpr@0.001<0.5", code=3)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("gate tpr@0.001<0.5: CANNOT BE TOLD for 1 of 1")
    kept = ("--gate", "auc<0.999", "--accept-doubt", "chance")
    privaudit_run(tmp_path, monkeypatch, *small, *kept)
    assert "gate auc<0.999: kept by the one pair" in capsys.readouterr().out


def test_verbose_tells_what_the_engine_does_and_goes_not_with_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = logging.getLogger("privaudit")
    before = ours.level
    try:
        words = ("--processes=1", "--set", "sparsifiers=[dense]")
        privaudit_run(tmp_path, monkeypatch, *words, "-q")
        assert not caplog.records
        privaudit_run(tmp_path, monkeypatch, *words, "-v", "--output", "again")
    finally:
        ours.setLevel(before)
    told = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("FitStarted(models=2, found=2") for line in told)
    assert any(line.startswith("fit of 'mlp': 2 models, 2 found") for line in told)
    privaudit_run(tmp_path, monkeypatch, "-q", "-v", code=2)


def test_a_log_tells_how_long_the_run_may_still_take() -> None:
    text = io.StringIO()
    clock = iter(range(0, 1000, 30))
    with Progress(Console(file=text, width=80)) as progress:
        progress._bar.get_time = lambda: float(next(clock))
        progress(RunStarted(12, 6, (6, 6)))
        progress(SubjectStarted("dense", 1, 2))
        progress(FitStarted(6, 6, 1))
        for epoch in (1, 2):
            progress(EpochDone(3, epoch, 2, 0.5, 0.75, float("nan")))
        progress(FitDone(3, 2, 1.5, 0.25, 0.9, 0.5))
    lines = text.getvalue().splitlines()
    assert lines[:2] == [
        "6 of 12 trainings are done: found in the cache",
        "dense: 6 networks found in the cache",
    ]
    assert re.search(r"; about \d+ min( \d+ s)? left of the run$", lines[2])


def shown(*, terminal: bool) -> list[str]:
    """The lines of a run in which an attacker believes that pruned networks are pruned dense."""
    nan = float("nan")
    text = io.StringIO()
    with Progress(Console(file=text, width=80, force_terminal=terminal)) as progress:
        for event in (
            SubjectStarted("dense", 1, 1),
            FitStarted(10, 0, 30),
            FitDone(10, 30, 1234.5, 0.25, 0.9, 0.5),
            LevelReached("", 1.0),
            AttackDone("loss", "", 0.625),
            BelievedStarted("l1 + none"),
            FitStarted(10, 9, 20),
            FitDone(1, 20, 1.5, nan, nan, nan),
            LevelReached("density 0.3", 0.3029),
            BelievedDone(),
            AttackDone("nn", "", 0.75),
        ):
            progress(event)
    return re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", text.getvalue()).replace("\r", "\n").splitlines()


def test_a_log_has_a_line_for_each_fit_and_level_and_tells_beliefs_apart() -> None:
    assert shown(terminal=False) == [
        "dense: 10 networks, 30 epochs, 1,234.5 s; loss 0.250, training 90.0%, validation 50.0%",
        "dense: 100.00% of the weights, attacking",
        "    loss: AUC 0.625",
        "  shadows believed l1 + none: 9 of 10 networks found in the cache",
        "  shadows believed l1 + none: 1 network, 20 epochs, 1.5 s",
        "  shadows believed l1 + none: density 0.3",
        "    nn: AUC 0.750",
    ]


def test_on_a_terminal_the_bar_alone_tells_of_fits() -> None:
    lines = [line.rstrip() for line in shown(terminal=True)]
    assert lines.count("dense: 100.00% of the weights, attacking") == 1
    assert lines.count("  shadows believed l1 + none: density 0.3") == 1
    assert not any("epochs" in line for line in lines)


def test_the_bar_is_of_the_whole_run_and_what_was_done_is_said() -> None:
    """Three trainings of two epochs each are left of the first subject, four of the second."""
    text = io.StringIO()
    clock = iter(range(1000))
    with Progress(Console(file=text, width=80, force_terminal=True)) as progress:
        bar = progress._bar
        bar.get_time = lambda: float(next(clock))

        def left() -> tuple[float, float | None]:
            return bar.tasks[0].completed, bar.tasks[0].total

        progress(RunStarted(12, 5, (6, 8)))
        progress(SubjectStarted("dense", 1, 2))
        progress(FitStarted(6, 3, 2))
        assert left() == (0, 14)
        for epoch in (1, 2):
            progress(EpochDone(3, epoch, 2, 0.5, 0.75, float("nan")))
        progress(AttackDone("loss", "", 0.625))
        assert left() == (6, 14)
        progress(SubjectStarted("dense matched to it", 1, 2))
        assert left() == (6, 14)
        progress(SubjectStarted("imp", 2, 2))
        progress(FitStarted(4, 2, 2))  # of which the first subject has done two
        progress(EpochDone(2, 1, 2, 0.5, 0.75, float("nan")))
        assert left() == (8, 14)
        assert bar.tasks[0].time_remaining
    assert "5 of 12 trainings are done" in text.getvalue()


def test_what_subjects_share_is_not_waited_for_twice() -> None:
    with Progress(Console(file=io.StringIO(), force_terminal=True)) as progress:
        progress(RunStarted(9, 0, (6, 8)))
        progress(SubjectStarted("dense", 1, 2))
        progress(EpochDone(4, 1, 1, 0.5, 0.75, float("nan")))  # a cheaper one than was thought
        progress(SubjectStarted("imp", 2, 2))
        assert progress._bar.tasks[0].total == 4 + 8


def test_progress_shows_labels_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
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
