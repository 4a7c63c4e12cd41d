"""What the checks around plugins and files cost: their share of a whole run.

    python -m benchmarks.checks [RECIPE] [--runs 3]

Times every call of a check inside the run, in one process and with one thread, on an empty cache:
the world that plugins share is read and put back, what they are lent is copied and compared, what
they return is looked at, units and runs are sealed by checksums.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks._device import add_device
from privaudit import load_recipe, run
from privaudit.api import boundary, calls, scores, world
from privaudit.api.watch import Seal
from privaudit.experiment import identity, running
from privaudit.store import journal, manifest, result
from privaudit.train import objective
from privaudit.train.dataset import DeviceDataset

_CHECKS: dict[str, tuple[tuple[Any, str], ...]] = {
    "reading what plugins are lent": (
        (scores, "copied_signals"), (scores, "differing"), (scores, "signal_tensors"),
        (Seal, "__init__"), (Seal, "broken"), (DeviceDataset, "check"),
        (calls, "copied_examples"),
    ),
    "what plugins return": (
        (scores, "checked_scores"), (objective, "scalar"), (objective, "alike"),
        (objective, "projected"), (calls, "tensor_problem"),
    ),
    "files of units": ((journal, "expected"), (journal, "encoded")),
    "the run's manifest": (
        (identity, "examples_digest"), (identity, "about"), (identity, "made_by"),
        (identity, "finished"),
        (result, "sealed"), (manifest.FileSum, "of"),
    ),
    "what there is to do": ((running, "forecast"),),
}  # fmt: skip


class _Clock:
    """Seconds spent in each kind of check; what one calls of another is counted once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = False

    def around(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside, started = True, time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[kind] += time.perf_counter() - started
                self._inside = False

        return timed

    @contextmanager
    def world(self, whose: str = "") -> Iterator[None]:
        """`own_world`, without what runs inside it."""
        started = time.perf_counter()
        with _own_world(whose):
            self.seconds["the world around plugins"] += time.perf_counter() - started
            try:
                yield
            finally:
                started = time.perf_counter()
        self.seconds["the world around plugins"] += time.perf_counter() - started


_own_world = world.own_world


def main() -> None:
    """Run the recipe, and print each kind of check with its share."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__)
    parser.add_argument("recipe", nargs="?", default="digits")
    parser.add_argument("--runs", type=int, default=3)
    add_device(parser)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(asked.recipe)
    clock = _Clock()
    setattr(boundary, "own_world", clock.world)  # noqa: B010
    for kind, places in _CHECKS.items():
        for owner, name in places:
            setattr(owner, name, clock.around(kind, getattr(owner, name)))
    for _ in range(asked.runs):
        clock.seconds.clear()
        with tempfile.TemporaryDirectory() as folder:
            home, started = Path(folder), time.perf_counter()
            kept: dict[str, Any] = {"device": str(asked.device), "cache": home / "cache"}
            run(recipe, home / "run", on_event=lambda _: None, **kept)
            whole = time.perf_counter() - started
        checks = sum(clock.seconds.values())
        print(f"{asked.recipe}: {whole:.1f} s, checks {checks:.2f} s, {checks / whole:.2%}")
        for kind, seconds in sorted(clock.seconds.items(), key=lambda row: -row[1]):
            print(f"    {seconds:6.3f} s  {kind}")


if __name__ == "__main__":
    main()
