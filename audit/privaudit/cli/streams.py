"""What a command prints where nobody can read it: a closed pipe or terminal, a full disk."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast


class Unbreakable:
    """A stream that loses what cannot be written, for messages that must not end a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def keep_going() -> None:
    """Let no message on stderr end this process."""
    stream = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = cast("TextIO", Unbreakable(stream))


def stdout_problem() -> str:
    """Why what has been printed cannot be read; empty where it can. No later flush complains."""
    if sys.stdout is None:
        return ""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        give_up_stdout()
        return (isinstance(error, OSError) and error.strerror) or str(error)
    return ""


def give_up_stdout() -> None:
    """Send what is still to be printed nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
