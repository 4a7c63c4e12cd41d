"""events.jsonl of a run's folder: what the run tells, for whoever looks on from elsewhere.

A line is a JSON object: `format`, `sequence` (from 1, over all attempts at a run), `time` (UTC,
ISO 8601), `kind` (the name of an event of `privaudit.events`), and the fields of that event; NaN
is null. Lines are only ever added, each by one write. What a kill has torn is cut off when the
next attempt begins.

Epochs are too many to keep all. One is kept where a six hundredth of the attempt's time, and a
second, has passed since the last that was; and so is the last one before any other event. In each,
`trained` counts the epochs of all networks that the attempt has done so far.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from privaudit.events import EpochDone, Event, RunDone
from privaudit.messages import plain
from privaudit.store.record import without_nan

logger = logging.getLogger(__name__)

NAME = "events.jsonl"
FORMAT = 1

_LARGEST = 4 * 2**20  # bytes, above which earlier attempts are dropped when another begins
_TAIL = 2**20  # bytes in which the last line is sought
_LEAST = 1.0  # seconds between two epochs that are kept
_SHARE = 600  # of the time since the attempt began
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class EventLog:
    """The file, open for one attempt at a run. What cannot be written is told once, and let be.

    Args:
        folder: of the run, which must be locked.
        clock: seconds, from any beginning.

    Attributes:
        resumed: whether an earlier attempt was stopped before its end.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = folder / NAME, clock
        self._sequence, self._trained, self.resumed = 0, 0, False
        self._waiting: tuple[EpochDone, int, str] | None = None
        self._began = self._kept = clock()
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(self._path, _FLAGS, 0o600)
            self._continue(self._descriptor)
        except OSError as error:
            self._give_up(error)

    def __call__(self, event: Event) -> None:
        """Write an event, unless it is an epoch that is not kept."""
        if not isinstance(event, EpochDone):
            self._write_waiting()
            self._write(event, _now())
            return
        self._trained += event.models
        self._waiting = event, self._trained, _now()
        now = self._clock()
        if now - self._kept >= max(_LEAST, (now - self._began) / _SHARE):
            self._kept = now
            self._write_waiting()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._write_waiting()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _continue(self, descriptor: int) -> None:
        """Cut off what is torn, and go on counting.

        Raises:
            OSError: it is no file.
        """
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        start = max(0, about.st_size - _TAIL)
        tail = os.pread(descriptor, _TAIL, start)
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            os.ftruncate(descriptor, start + len(whole))
        for line in reversed(whole.splitlines()):
            with suppress(ValueError, TypeError, KeyError):
                last = json.loads(line)
                self._sequence = int(last["sequence"])
                self.resumed = last["kind"] != RunDone.__name__
                break
        if about.st_size > _LARGEST:
            os.ftruncate(descriptor, 0)

    def _write_waiting(self) -> None:
        if self._waiting is not None:
            event, trained, when = self._waiting
            self._waiting = None
            self._write(event, when, trained=trained)

    def _write(self, event: Event, when: str, **more: int) -> None:
        if self._descriptor is None:
            return
        self._sequence += 1
        head = {"format": FORMAT, "sequence": self._sequence, "time": when}
        fields: dict[str, Any] = {"kind": type(event).__name__} | more | asdict(event)
        line = json.dumps(head | without_nan(fields), allow_nan=False).encode() + b"\n"
        try:
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning(
            "%s",
            plain(
                f"cannot write {self._path}: {error.strerror or error}; the run goes on, and "
                "`privaudit watch` does not see it"
            ),
        )
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
