"""events.jsonl as it is read, also while a run still writes it: whole lines, and only what fits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from privaudit.errors import StoreError
from privaudit.events import EVENTS, Event, RunOpened
from privaudit.readers.regular import regular
from privaudit.store.event_log import FORMAT, NAME

_CHUNK = 2**20
_LONGEST = 16 * 2**20  # bytes of a line
_KINDS = {kind.__name__: kind for kind in EVENTS}
_ADAPTERS: dict[str, TypeAdapter[Event]] = {name: TypeAdapter(k) for name, k in _KINDS.items()}


@dataclass(frozen=True)
class Told:
    """A line.

    Attributes:
        sequence: from 1.
        time: when it was told, with its zone.
        event: what was told.
        trained: of an `EpochDone`, the epochs of all networks that the attempt had done by then;
            0 of every other event.
    """

    sequence: int
    time: datetime
    event: Event
    trained: int = 0


class EventReader:
    """Reads on where it was, each time it is asked.

    Args:
        folder: of a run.

    Attributes:
        damaged: how many lines could not be read; those of an unknown kind are not among them.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.damaged = 0
        self._offset, self._rest, self._file = 0, b"", (0, 0)

    def new(self) -> list[Told]:
        """What has come since the last time; nothing while there is no file.

        Raises:
            StoreError: it cannot be read, or a newer privaudit has written it.
        """
        try:
            return [told for line in self._lines() if (told := self._told(line))]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror or error}") from error

    def _lines(self) -> Iterator[bytes]:
        """New whole lines; of a file that was begun anew, all."""
        with regular(self.path) as file:
            about = os.fstat(file.fileno())
            if (about.st_dev, about.st_ino) != self._file or about.st_size < self._offset:
                self._offset, self._rest = 0, b""
                self._file = about.st_dev, about.st_ino
            file.seek(self._offset)
            while chunk := file.read(_CHUNK):
                self._offset += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                yield from lines
                if len(self._rest) > _LONGEST:
                    raise StoreError(
                        f"{self.path} is damaged: a line of it does not end; remove it"
                    )

    def _told(self, line: bytes) -> Told | None:
        try:
            record = json.loads(line)
            if int(record["format"]) > FORMAT:
                raise StoreError(
                    f"{self.path} was written by a newer privaudit (format {record['format']}, "
                    f"this one reads {FORMAT}): upgrade privaudit"
                )
            kind = _KINDS.get(str(record["kind"]))
            if kind is None:
                return None
            when = datetime.fromisoformat(record["time"])
            if when.tzinfo is None:
                raise ValueError("a time without a zone")
            event = _ADAPTERS[kind.__name__].validate_python(_given(kind, record))
            return Told(int(record["sequence"]), when, event, int(record.get("trained", 0)))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, ValidationError):
            self.damaged += 1
            return None


def last_attempt(story: list[Told]) -> list[Told]:
    """What the last attempt at a run has told."""
    starts = [n for n, told in enumerate(story) if isinstance(told.event, RunOpened)]
    return story[starts[-1] :] if starts else story


def _given(kind: type[Event], record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event, as they were before JSON had no word for NaN."""
    given = {field.name: record[field.name] for field in fields(kind) if field.name in record}
    floats = {field.name for field in fields(kind) if field.type == "float"}
    return {n: float("nan") if n in floats and v is None else v for n, v in given.items()}
