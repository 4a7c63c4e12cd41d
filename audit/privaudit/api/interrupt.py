"""Who interrupts: a person or a signal, a plugin that raises what stands for it, or the clock."""

from __future__ import annotations

import dis
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN = 5.0  # seconds to the next alarm, for code that swallows the first
_RAISE = dis.opmap["RAISE_VARARGS"]


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is a true interrupt, which nobody may hold back.

    Ctrl-C arises between two instructions of whatever runs, and the engine's own handlers raise
    in the engine; a `raise KeyboardInterrupt` in a plugin's code is the plugin's error.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return True
    innermost = frames[-1][0]
    if str(innermost.f_globals.get("__name__", "")).startswith("privaudit."):
        return True
    at = _innermost_instruction(error)
    return type(error) is KeyboardInterrupt and innermost.f_code.co_code[at] != _RAISE


def words_of(error: BaseException) -> str | None:
    """What an error says; None where its own `__str__` raises, whatever it is."""
    try:
        return str(error)
    except BaseException as broken:
        if is_interrupt(broken):
            raise
        return None


def in_a_line(error: BaseException) -> str:
    """An error's type and words on one line, at most 500 characters; its words may be broken."""
    said = words_of(error)
    if said is None:
        said = "without words that can be read"
    return " ".join(f"{type(error).__name__}: {said}".split()).removesuffix(":")[:500]


@contextmanager
def no_sudden_exit() -> Iterator[None]:
    """Turn `os._exit` into an error, so that a module cannot end the command without a word."""
    end, process, active = os._exit, os.getpid(), True

    def refuse(status: int) -> None:
        if active and os.getpid() == process:  # a child that was forked meanwhile may end so
            raise SystemExit(f"os._exit({status})")
        end(status)

    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        active = False  # for a module that keeps it
        if os._exit is refuse:
            os._exit = end


class TooLong(BaseException):
    """Code has not come to an end in the time that it has; nothing in between should catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt code that takes longer, where Python can: in its main thread, without an alarm.

    Raises:
        TooLong: in the code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getitimer(signal.ITIMER_REAL)[0] > 0:  # somebody else's alarm goes on
        yield
        return
    active = True

    def over(number: int, frame: object) -> None:
        if active:
            raise TooLong

    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        yield
    finally:
        active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def _innermost_instruction(error: BaseException) -> int:
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_lasti
