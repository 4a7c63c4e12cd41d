"""Several commands at once, on one folder or one cache."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.campaign._case import Case
from tests.campaign._command import Running, complaint, digits, start
from tests.campaign._undisturbed import left_behind, undisturbed
from tests.campaign.runs import numbers

QUESTION = "Do commands that run at the same time leave each other's results alone?"

_RUN = ("run", "recipe.yaml", "--processes", "1", "--output")
_OTHER = ("run", "other.yaml", "--processes", "1", "--output")
_PAIRS: dict[str, tuple[tuple[str, ...], ...]] = {
    "one run, twice into one folder": ((*_RUN, "run"), (*_RUN, "run")),
    "two recipes into one folder": ((*_RUN, "run"), (*_OTHER, "run")),
    "one recipe into two folders": ((*_RUN, "run"), (*_RUN, "second")),
    "three at once": ((*_RUN, "run"), (*_RUN, "second"), (*_OTHER, "third")),
    "a report meanwhile": ((*_RUN, "run"), ("report", "run")),
    "a look at the cache meanwhile": ((*_RUN, "run"), ("cache", "verify")),
    "an eviction meanwhile": ((*_RUN, "run"), ("cache", "evict", "--max-size", "0")),
    "an export meanwhile": ((*_RUN, "run"), ("export", "run", "--subject", "dense")),
}
_TIMES = 13  # each, at different distances


def _raced(commands: tuple[tuple[str, ...], ...], delay: float, folder: Path) -> str:
    digits(folder)
    digits(folder, "other.yaml", training={"epochs": 2, "lr": 0.02, "batch_size": 64})
    running: list[Running] = []
    for command in commands:
        running.append(start(*command, cwd=folder))
        time.sleep(delay)
    ended = [one.ended(120) for one in running]
    for ran, command in zip(ended, commands, strict=True):
        if problem := complaint(ran, 0, 1):
            return f"{' '.join(command)}: {problem}"
    if not any(
        ran.code == 0 for ran, command in zip(ended, commands, strict=True) if command[0] == "run"
    ):
        return "no run has finished"
    last = start(*_RUN, "run", cwd=folder).ended(120)
    if "holds the run of another recipe" in last.err:  # the other one was first
        last = start(*_RUN, "again", cwd=folder).ended(120)
        name = "again"
    else:
        name = "run"
    if problem := complaint(last, 0):
        return f"afterwards: {problem}"
    if left := left_behind(folder):
        return f"left behind: {', '.join(left)}"
    same = numbers(folder / name) == numbers(undisturbed()[0] / "run")
    return "" if same else "other numbers than the undisturbed run's"


def cases(seed: int) -> Iterator[Case]:
    """Every pair, at several distances."""
    chance = random.Random(seed)
    for time_number in range(_TIMES):
        for name, commands in _PAIRS.items():
            delay = chance.random() * 0.2 * (time_number + 1) / _TIMES * 5
            yield Case(f"{name}, {time_number}", partial(_raced, commands, delay))
