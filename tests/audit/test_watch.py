"""`privaudit watch`: the view of `privaudit run` from elsewhere, and how a run has ended."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from privaudit import load_recipe, run
from privaudit.cli import main
from privaudit.cli.progress import Progress
from privaudit.cli.watching import Ending, Watch
from privaudit.errors import StoreError
from privaudit.events import (
    AttackDone,
    EpochDone,
    Event,
    FitDone,
    FitStarted,
    LevelReached,
    RunDone,
    RunOpened,
    RunStarted,
    RunStopped,
    SubjectStarted,
)
from privaudit.store.event_log import EventLog
from privaudit.store.lock import NAME, run_lock

FIRST_VERSION = Path(__file__).parents[1] / "fixtures" / "first_version" / "run"
OPENED = RunOpened("digits", "{}", "/runs/digits")
DONE = RunDone("/runs/digits", 1, 0, 9.0)
STORY: tuple[Event, ...] = (
    OPENED,
    RunStarted(4, 0, (8,)),
    SubjectStarted("imp\x1b[31m", 1, 1),
    FitStarted(4, 0, 2),
    EpochDone(4, 1, 2, 0.5, 0.75, 0.5),
    EpochDone(4, 2, 2, 0.25, 0.9, 0.5),
    FitDone(4, 2, 1.5, 0.25, 0.9, 0.5),
    LevelReached("round 0", 0.5),
    AttackDone("loss", "round 0", 0.6, "imp\x1b[31m"),
)
RECIPE = """
name: watched
dataset: digits
split: {members: 40, non_members: 40}
model: {name: mlp, hidden: [8]}
training: {epochs: 3}
sparsifiers: [dense]
attacks: [loss]
"""


class Told:
    """A log, and a watch that is read on while it sleeps."""

    def __init__(self, folder: Path, terminal: bool = False, width: int = 80) -> None:
        self.folder, self.text = folder, io.StringIO()
        folder.mkdir(exist_ok=True)
        self.console = Console(file=self.text, width=width, force_terminal=terminal)
        self.sleeps = 0

    def write(self, *events: Event) -> None:
        """Add events, as one attempt."""
        log = EventLog(self.folder)
        for event in events:
            log(event)
        log.close()

    def held(self, *, process: int | None = None, host: str = "", quiet: float = 0.0) -> None:
        """Leave a lock as a run would, without holding it."""
        owner = {"process": process or os.getpid(), "host": host or platform.node()}
        (self.folder / NAME).write_text(json.dumps(owner))
        now = time.time()
        os.utime(self.folder / NAME, (now - quiet, now - quiet))

    def watch(
        self, *meanwhile: Callable[[], object], timeout: float | None = None, path: str = ""
    ) -> Ending:
        """Watch; each time the watch sleeps, one thing more happens."""
        waiting = list(meanwhile)

        def sleep(seconds: float) -> None:
            self.sleeps += 1
            if waiting:
                waiting.pop(0)()
            elif timeout is None:
                pytest.fail("it watches on although nothing will happen")

        return Watch(self.folder / path, self.console, timeout, sleep).follow()

    @property
    def said(self) -> str:
        return " ".join(self.text.getvalue().replace(str(self.folder), "RUN").split())


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "run")


def test_it_shows_what_run_shows(told: Told) -> None:
    told.held()
    ending = told.watch(lambda: told.write(*STORY), lambda: told.write(DONE))
    assert ending == Ending(told.folder, True)
    shown = io.StringIO()
    with Progress(Console(file=shown, width=80)) as progress:
        for event in STORY:
            progress(event)
    lines = [line for line in told.text.getvalue().splitlines() if "being made ready" not in line]
    assert [line.partition("; about")[0] for line in lines] == [
        line.partition("; about")[0] for line in shown.getvalue().splitlines()
    ]
    assert "imp round 0: 50.00% of the weights, attacking" in shown.getvalue().replace("�[31m", "")
    assert "\x1b" not in told.text.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_has_the_bar_and_time_is_told_by_the_log_s_own_clock(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(tmp_path / "run", terminal=True, width=width)
    told.held()
    times = iter(f"2026-01-01T00:00:{second:02}.000+00:00" for second in range(0, 60, 5))
    monkeypatch.setattr("privaudit.store.event_log._now", lambda: next(times))
    told.write(*STORY[:4])
    seconds = iter([0.0, *[n * 1000.0 for n in range(1, 9)]])
    log = EventLog(told.folder, lambda: next(seconds))
    log(EpochDone(4, 1, 4, 0.5, 0.75, 0.5))
    log(EpochDone(4, 2, 4, 0.5, 0.75, 0.5))
    watch = Watch(told.folder, told.console, 0.0, lambda seconds: None)
    ending = watch.follow()
    assert "no sign of life" in ending.said
    assert "[1/1] imp" in told.text.getvalue()
    assert max(map(len, told.text.getvalue().replace("\x1b[2K", "").splitlines())) < 4 * width


def test_epochs_that_the_log_leaves_out_count(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Event] = []
    monkeypatch.setattr(Progress, "__call__", lambda self, event: shown.append(event))
    told.held()

    def write() -> None:
        log = EventLog(told.folder, lambda: 0.0)
        for event in (OPENED, *(EpochDone(2, n, 9, 0.5, 0.5, 0.5) for n in range(1, 6)), DONE):
            log(event)
        log.close()

    assert told.watch(write).complete
    (epoch,) = [event for event in shown if isinstance(event, EpochDone)]
    assert (epoch.models, epoch.epoch) == (10, 5)


def test_a_run_whose_process_is_gone_has_died_and_where_is_told(told: Told) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told.write(*STORY[:6])
    told.held(process=gone.pid)
    ending = told.watch()
    assert not ending.complete
    assert "(1 of 1), in epoch 2 of 2" in ending.said
    assert f"its process {gone.pid} on {platform.node()} is gone" in ending.said
    assert "with the same recipe goes on where it stopped" in ending.said
    assert told.sleeps == 0


def test_a_run_that_ends_without_a_word_while_it_is_watched(told: Told) -> None:
    told.held()
    told.write(*STORY)
    ending = told.watch(lambda: None, lambda: (told.folder / NAME).unlink())
    assert "has ended without a word" in ending.said
    assert "after 'round 0': nobody works in its folder any more" in ending.said


@pytest.mark.parametrize(
    ("host", "why"), [("elsewhere", "it was on another machine"), ("", "stopped perhaps")]
)
def test_what_gives_no_sign_of_life_cannot_be_told(told: Told, host: str, why: str) -> None:
    told.write(*STORY)
    told.held(host=host, quiet=900)
    ending = told.watch(
        lambda: None,
        lambda: told.held(host=host),  # it lives after all
        lambda: told.held(host=host, quiet=1200),
        lambda: told.write(DONE),
    )
    assert ending.complete
    assert told.said.count("cannot be told whether it still runs, because its process") == 2
    assert "has given no sign of life for 15 min" in told.said
    assert "no sign of life for 20 min" in told.said
    assert why in told.said


def test_a_timeout_ends_what_cannot_be_told(told: Told) -> None:
    told.write(*STORY)
    told.held(host="elsewhere", quiet=900)
    ending = told.watch(timeout=0.05)
    assert not ending.complete
    assert "whether it still runs cannot be told at 'imp" in ending.said
    told.held(host="elsewhere")  # a run that lives is waited for, however slow its epochs are
    with pytest.raises(RuntimeError, match="enough"):
        told.watch(*[lambda: told.held(host="elsewhere")] * 5, _enough, timeout=30)


def _enough() -> None:
    raise RuntimeError("enough")


def test_a_run_that_has_not_begun_is_waited_for(told: Told) -> None:
    folder = told.folder
    folder.rmdir()
    ending = told.watch(
        lambda: None,
        folder.mkdir,
        told.held,
        lambda: told.write(*STORY, DONE),
    )
    assert ending.complete
    assert told.said.startswith("RUN has not begun; waiting for it RUN is being made ready by")
    other = Told(folder.parent / "other")
    assert not other.watch(timeout=0.0).complete


def test_a_run_that_stops_says_why(told: Told) -> None:
    told.held()
    told.write(*STORY)
    ending = told.watch(lambda: told.write(RunStopped("DataError: no\x1b[31m")))
    assert "was stopped at 'imp" in ending.said
    assert "DataError: no" in ending.said


def test_a_run_that_goes_on_is_followed_from_its_new_beginning(told: Told) -> None:
    told.write(*STORY, RunStopped("somebody has stopped it"))
    assert not told.watch().complete
    told.held()
    resumed = RunOpened("digits", "{}", "/runs/digits", resumed=True)
    ending = told.watch(lambda: None, lambda: told.write(resumed, *STORY[1:], DONE))
    assert ending.complete
    assert "goes on where it was stopped before" in told.said


def test_a_finished_run_that_another_only_reads_is_finished(told: Told) -> None:
    told.write(*STORY, DONE)
    told.held()
    ending = told.watch(lambda: None, lambda: (told.folder / NAME).unlink())
    assert ending.complete
    assert told.sleeps == 2


def test_a_finished_run_whose_process_was_killed_at_its_end_is_finished(told: Told) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told.write(*STORY, DONE)
    told.held(process=gone.pid)
    assert told.watch().complete
    told.write(OPENED, RunStopped("x"))
    assert "was stopped" in told.watch().said


def test_looking_takes_no_lock(told: Told) -> None:
    told.write(*STORY)
    with run_lock(told.folder):
        ending = told.watch(lambda: told.write(DONE))
    assert ending.complete


def test_what_is_no_run_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="is no folder: name that of a run"):
        Watch(tmp_path / "file", Console(file=io.StringIO())).follow()


def command(monkeypatch: pytest.MonkeyPatch, *words: str, columns: int = 80) -> int | str | None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["privaudit", "watch", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("columns", [80, 200])
def test_a_finished_run_is_summed_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
) -> None:
    (tmp_path / "watched.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "watched.yaml")
    run(recipe, tmp_path / "run", device="cpu", cache=tmp_path / "cache")
    for path in ("run", "run/result.json", "run/events.jsonl"):
        assert not command(monkeypatch, str(tmp_path / path), columns=columns)
        shown = capsys.readouterr()
        assert "Each row is 1 network" in shown.out
        assert max(map(len, shown.out.splitlines())) <= columns
        assert shown.err == ""
    (tmp_path / "run" / "result.json").write_text("{}")
    assert command(monkeypatch, str(tmp_path / "run"), columns=columns) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_run_older_than_logs_is_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FIRST_VERSION, tmp_path / "run")
    assert not command(monkeypatch, str(tmp_path / "run"))
    assert "halved" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("--timeout", "-1"), ("--timeout", "soon")])
def test_a_wrong_timeout_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    assert command(monkeypatch, str(tmp_path / "run"), *words) == 2
    assert "--timeout" in capsys.readouterr().err


def test_a_killed_run_is_seen_to_die(tmp_path: Path) -> None:
    (tmp_path / "watched.yaml").write_text(RECIPE.replace("epochs: 3", "epochs: 100000"))
    words = ("run", "watched.yaml", "--processes", "1", "--cache", "cache", "--output", "run", "-q")
    process = subprocess.Popen(
        [sys.executable, "-m", "privaudit", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    console = Console(file=io.StringIO(), width=80)
    killed: list[int] = []

    def sleep(seconds: float) -> None:
        time.sleep(0.1)
        log = tmp_path / "run" / "events.jsonl"
        if not killed and log.exists() and b"EpochDone" in log.read_bytes():
            process.send_signal(signal.SIGKILL)
            killed.append(process.wait())

    ending = Watch(tmp_path / "run", console, 60, sleep).follow()
    assert killed
    assert f"its process {process.pid} on {platform.node()} is gone" in ending.said
    assert "in epoch " in ending.said
