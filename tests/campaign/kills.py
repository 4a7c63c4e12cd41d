"""Runs that are killed at any time, and go on."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from tests.campaign._case import Case
from tests.campaign._command import Ran, complaint, digits, privaudit
from tests.campaign._undisturbed import left_behind, undisturbed
from tests.campaign.runs import numbers

QUESTION = "Does a run that is killed, and started again, lose no unit and find the same numbers?"

_RUNS, _KILLS = 25, 8  # whole runs, and kills spread over each
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT)


@cache
def _seconds(processes: int) -> float:
    return undisturbed(processes)[1]


def _run(folder: Path, processes: int, kill_after: float | None, number: int) -> Ran:
    return privaudit(
        "run", "recipe.yaml", "--output", "run", "--processes", str(processes), cwd=folder,
        env={"TMPDIR": str(folder / "tmp")}, kill_after=kill_after, signal_number=number,
        seconds=120,
    )  # fmt: skip


def _units(folder: Path) -> dict[Path, tuple[int, int]]:
    """What would tell that a unit was removed, set aside or written again."""
    about = {path: path.stat() for path in (folder / "cache").rglob("*.unit")}
    return {path: (one.st_ino, one.st_mtime_ns) for path, one in about.items()}


def _killed(run: int, processes: int, seed: int, folder: Path) -> str:
    """One run, killed several times: each kill comes later than the one before."""
    chance = random.Random(f"{seed} {run}")
    digits(folder)
    (folder / "tmp").mkdir()
    units: dict[Path, tuple[int, int]] = {}
    for kill in range(_KILLS):
        number = chance.choice(_SIGNALS)
        share = (kill + chance.random()) / _KILLS
        ran = _run(folder, processes, share * _seconds(processes), number)
        if problem := complaint(ran, 0, -number, 128 + number):
            return f"killed by {number} after {share:.0%}: {problem}"
        if lost := units.items() - (now := _units(folder)).items():
            return f"killed by {number} after {share:.0%}: {len(lost)} units lost"
        units = now
    if problem := complaint(_run(folder, processes, None, 0), 0):
        return f"the last run: {problem}"
    if lost := units.items() - _units(folder).items():
        return f"the last run made {len(lost)} units again that were there"
    if left := left_behind(folder):
        return f"left behind: {', '.join(left)}"
    same = numbers(folder / "run") == numbers(undisturbed(processes)[0] / "run")
    return "" if same else "other numbers than the undisturbed run's"


def cases(seed: int) -> Iterator[Case]:
    """200 kills in 25 runs, every fifth at two processes."""
    for run in range(_RUNS):
        processes = 2 if run % 5 == 4 else 1
        what = partial(_killed, run, processes, seed)
        yield Case(f"run {run} at {processes} processes", what, _KILLS)
