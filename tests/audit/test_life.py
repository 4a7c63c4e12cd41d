"""The life of a run: one at a time in a folder, stopped by whom it may be, leaving nothing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from pydantic import BaseModel, model_serializer
from pydantic_core import PydanticSerializationError
from rich.console import Console

from privaudit import cli
from privaudit.cli.signals import Stop, Stopped, exit_code, stoppable
from privaudit.cli.work import until_stopped
from privaudit.errors import StoreError
from privaudit.jobs.lent import LentFolder, sweep
from privaudit.jobs.shared import share_tensors
from privaudit.store.failure import Failure
from privaudit.store.files import private_folder
from privaudit.store.lock import NAME, run_lock

RECIPE = """
name: life
dataset: digits
split: {members: 100, non_members: 100}
model: {name: mlp, hidden: [8]}
training: {epochs: %d, lr: 0.05, batch_size: 50}
sparsifiers: [dense]
attacks: [loss]
shadows: 2
"""


def start(
    folder: Path, *arguments: str, epochs: int = 2, **streams: object
) -> subprocess.Popen[str]:
    (folder / "life.yaml").write_text(RECIPE % epochs)
    command = [sys.executable, "-m", "privaudit", *arguments]
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, cwd=folder, text=True, env=os.environ | {"PRIVAUDIT_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder)}, **streams,
    )  # fmt: skip


def test_a_second_run_is_told_who_works_in_the_folder(tmp_path: Path) -> None:
    with run_lock(tmp_path / "run"):
        with (
            pytest.raises(StoreError, match=f"process {os.getpid()} on .* name another --output"),
            run_lock(tmp_path / "run"),
        ):
            pass
        assert (tmp_path / "run" / NAME).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "run").exists()


def test_the_dead_hold_no_lock(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps({"host": os.uname().nodename, "process": 1}))
    with run_lock(tmp_path):
        pass


def test_a_run_on_another_machine_holds_its_lock_while_its_heart_beats(tmp_path: Path) -> None:
    lock = tmp_path / NAME
    lock.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    with pytest.raises(StoreError, match="on elsewhere"), run_lock(tmp_path):
        pass
    os.utime(lock, (time.time() - 120,) * 2)
    with run_lock(tmp_path):
        pass


def test_what_a_killed_run_wrote_by_half_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".tmp-half").write_text("x")
    (tmp_path / "mine").write_text("x")
    with run_lock(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "mine"]


def test_parents_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_folder(tmp_path / "a" / "b" / "c")
        os.umask(0o777)
        private_folder(tmp_path / "d" / "e")
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c", "d", "d/e"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_what_is_lent_is_private_and_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0)
    try:
        with LentFolder() as folder:
            share_tensors({"x": torch.zeros(3)}, folder)
            assert stat.S_IMODE((folder / "x").stat().st_mode) == 0o600
            sweep()
            assert (folder / "x").exists()
    finally:
        os.umask(before)
    assert not folder.exists()


def test_what_the_dead_have_lent_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, young = tmp_path / "privaudit-lent-1", tmp_path / "privaudit-lent-2"
    for folder in (dead, young):
        folder.mkdir()
    (dead / ".alive").touch()
    other = os.open(dead / ".alive", os.O_WRONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    sweep()
    assert dead.exists()
    os.close(other)
    sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["privaudit-lent-2"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_run_as_ctrl_c_does(tmp_path: Path, number: signal.Signals) -> None:
    process = start(
        tmp_path, "run", "life.yaml", "--processes", "2", epochs=20_000, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("privaudit-lent-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number, said
    assert "stopped: trainings that are finished are kept" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("privaudit-lent-*"))
    assert not list(tmp_path.rglob(NAME))


STOPPED = """
import privaudit.cli as cli

def app(obj):
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        raise SystemExit(130)

cli.app = app
cli.main()
"""


def test_an_interrupt_in_the_middle_of_an_import_gives_the_exit_code_too(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "stopped"], env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert done.returncode == 130  # -2 would be a death by the signal


@pytest.mark.parametrize("inside", [True, False])
def test_ctrl_c_in_any_command_gives_the_exit_code_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    def stopped(**_: object) -> None:
        raise KeyboardInterrupt

    app = typer.Typer(add_completion=False)
    app.command("stop")(lambda: stopped())
    monkeypatch.setattr(cli, "app", app if inside else stopped)
    monkeypatch.setattr(sys, "argv", ["privaudit"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


def test_nobody_listening_does_not_end_a_run(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert (
            start(tmp_path, "run", "life.yaml", stderr=full, stdout=subprocess.DEVNULL).wait() == 0
        )
    assert list(tmp_path.glob("runs/*/result.json"))
    with Path("/dev/full").open("w") as full:
        process = start(
            tmp_path, "report", str(next(tmp_path.glob("runs/*"))), stdout=full,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.strip() == "cannot write the output: No space left on device"


def test_report_shows_the_finished_runs_and_names_the_others(tmp_path: Path) -> None:
    assert start(tmp_path, "run", "life.yaml", stderr=subprocess.DEVNULL).wait() == 0
    (tmp_path / "runs" / "begun").mkdir()
    runs = sorted(map(str, (tmp_path / "runs").iterdir()))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(tmp_path, "report", *runs, **pipes)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "dense" in shown
    assert said.startswith("left out: ")
    assert "begun has no result.json" in said
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    process = start(tmp_path, "report", *runs, str(tmp_path / "runs" / "notes.txt"), **pipes)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "dense" in shown
    assert "notes.txt" in said


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_stop_that_somebody_swallows_is_repeated(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stoppable() as stop:
        stop.check()
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), number)
            time.sleep(1)
        with pytest.raises(Stopped) as stopped:
            stop.check()
    assert exit_code(stopped.value) == 128 + number
    assert signal.getsignal(number) == before


class Serialised(BaseModel):
    """Whoever writes it is stopped by a signal meanwhile."""

    @model_serializer
    def stopped(self) -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(1)
        return "unreachable"


def _wrapped(stop: Stop) -> list[Failure]:
    Serialised().model_dump()
    return []


def _told_as_a_failure(stop: Stop) -> list[Failure]:
    with contextlib.suppress(PydanticSerializationError):
        Serialised().model_dump()
    return [Failure("dense", "what a stop was taken for")]


@pytest.mark.parametrize("work", [_wrapped, _told_as_a_failure])
def test_a_stop_that_becomes_an_error_is_still_a_stop(
    work: Callable[[Stop], list[Failure]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has ignored
    try:
        with pytest.raises(typer.Exit) as ended:
            until_stopped(typer.Context(typer.main.get_command(cli.app)), Console(), work)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.value.exit_code == 128 + signal.SIGHUP
    assert "stopped: trainings that are finished are kept" in " ".join(
        capsys.readouterr().out.split()
    )
