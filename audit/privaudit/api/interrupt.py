"""Who interrupts: a person or a signal, or a plugin that raises what stands for it."""

from __future__ import annotations

import dis
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

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


def in_a_line(error: BaseException) -> str:
    """An error's type and words on one line, at most 500 characters; its words may be broken."""
    try:
        said = str(error)
    except Exception:
        said = "without words that can be read"
    return " ".join(f"{type(error).__name__}: {said}".split())[:500]


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


def _innermost_instruction(error: BaseException) -> int:
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_lasti
