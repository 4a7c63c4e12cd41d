"""What Slurm, systemd, docker and a closed terminal send ends a run as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_USUAL = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(KeyboardInterrupt):
    """A signal asks this process to stop.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(stopped: KeyboardInterrupt) -> int:
    """What a process that was stopped exits with, as shells have it."""
    return 128 + getattr(stopped, "number", int(signal.SIGINT))


class Stop:
    """Whether a signal has asked this process to stop.

    Attributes:
        number: of the signal; 0 before there was one.
    """

    number = 0

    def check(self) -> None:
        """Stop again, where somebody's `except:` has swallowed the first `Stopped`.

        Raises:
            Stopped: a signal has come.
        """
        if self.number:
            raise Stopped(self.number)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.number = number
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise `Stopped` at the first SIGTERM, SIGHUP or SIGINT; a second ends the process at once.

    What is ignored, as nohup has it, stays ignored.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _STOPS}
    before = {n: handler for n, handler in before.items() if handler in _USUAL}
    for number in before:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
