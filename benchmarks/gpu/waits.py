"""Where a training step makes the host wait for the device."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from benchmarks.gpu import engine
from privaudit import Examples
from privaudit.testing import pretend


def counted(device: torch.device) -> AbstractContextManager[Counter[str]]:
    """Every wait while it lasts, by the line of privaudit that asked for it."""
    return _told_by_cuda() if device.type == "cuda" else _pretended()


@contextmanager
def _pretended() -> Iterator[Counter[str]]:
    """What would be waits of a GPU; uploads too, which CUDA does not tell of."""
    found: Counter[str] = Counter()
    with pretend.watching() as seen:
        yield found
    for kind in ("waits", "uploads"):
        for (operation, line), count in getattr(seen, kind).items():
            found[f"{line} ({kind.removesuffix('s')}: {operation})"] += count


@contextmanager
def _told_by_cuda() -> Iterator[Counter[str]]:
    seen: Counter[str] = Counter()

    def show(message: object, category: object, filename: str, lineno: int, *rest: object) -> None:
        if "synchron" in str(message):
            seen[_line() or f"{filename}:{lineno}"] += 1

    always = torch.is_warn_always_enabled()
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show  # type: ignore[assignment]
        torch.set_warn_always(True)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            torch.set_warn_always(always)


def _line() -> str:
    """The innermost line of privaudit that is being run."""
    for frame in reversed(traceback.extract_stack()):
        _, ours, place = frame.filename.rpartition("/privaudit/")
        if ours:
            return f"{place}:{frame.lineno}"
    return ""


def waits_of_way(
    way: str, examples: Examples, device: torch.device, models: int, batch: int
) -> Counter[str]:
    """The waits of two epochs, without those of setting a fit and its first epoch up.

    A step's own waits come at least as often as there are steps in two epochs.
    """
    found: list[Counter[str]] = []

    def watch(work: Callable[[], None]) -> None:
        with counted(device) as seen:
            work()
        found.append(seen)

    for rounds in (0, 2):
        engine.epoch_seconds(
            way, examples, device, models=models, batch=batch, rounds=rounds, around=watch
        )
    return found[1] - found[0]
