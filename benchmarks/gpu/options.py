"""What the command asks for, and how long it may take."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Options:
    """What every part is told.

    Attributes:
        device: cuda, cuda:i, cpu or pretend.
        out: where tables, and what is gone on with, are kept.
        quick: in miniature, to see that everything runs.
        data: a folder of CLASS/IMAGE files, CIFAR-10's; None: scikit-learn's digits in miniature.
        changes: of the paper's recipe, as `privaudit run --set` has them.
        limit: seconds that a part may take.
        started: when the part began, by `time.monotonic`.
    """

    device: str
    out: Path
    quick: bool = False
    data: Path | None = None
    changes: tuple[str, ...] = ()
    limit: float = 520.0
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left for the part."""
        return self.started + self.limit - time.monotonic()


class TimeUp(KeyboardInterrupt):
    """The time for something is over; it passes where plugins' errors are caught."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the main thread after so many seconds.

    It is raised again every few seconds: a library's bare `except:` may have swallowed it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds), 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
