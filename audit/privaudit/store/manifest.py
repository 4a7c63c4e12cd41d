"""What a finished run consists of: manifest.json, with the checksum of every file of the folder.

A manifest holds a checksum of its own content, and result.json holds the identity that stands in
it: what was damaged, exchanged or left by another run is told from what the run wrote.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from privaudit.errors import StoreError
from privaudit.readers.regular import IrregularError, regular

NAME = "manifest.json"
FORMAT = 1

_REDO = "run its recipe again"
_LARGEST = 2**30  # bytes of a file that is read whole without a manifest telling its size
_CHUNK = 2**20
_GONE = (errno.ENOENT, errno.ENOTDIR)


class DamagedRunError(StoreError):
    """A file of a run is not what the run wrote: running the recipe again mends it."""


@dataclass(frozen=True)
class FileSum:
    """What a file holds, in short.

    Attributes:
        size: bytes.
        blake2b: checksum of 32 bytes (hex).
    """

    size: int
    blake2b: str

    @classmethod
    def of(cls, content: bytes) -> FileSum:
        """Of what is to be written."""
        return cls(len(content), _hash(content))

    @classmethod
    def read(cls, path: Path) -> FileSum:
        """Of a file on disk.

        Raises:
            OSError: it cannot be read.
        """
        with regular(path) as file:
            state, size = blake2b(digest_size=32), 0
            while chunk := file.read(_CHUNK):
                state.update(chunk)
                size += len(chunk)
        return cls(size, state.hexdigest())


@dataclass(frozen=True)
class Manifest:
    """What a finished run consists of.

    Attributes:
        folder: of the run.
        identity: hash of `about`; it stands in result.json, too.
        about: what the run was made from and by, as `experiment.identity` has it.
        files: by their paths in the folder.
    """

    folder: Path
    identity: str
    about: Mapping[str, Any]
    files: Mapping[str, FileSum]

    def problem(self, name: str) -> str:
        """What is wrong with a file of the run; empty where nothing is."""
        path, expected = self.folder / name, self.files.get(name)
        if expected is None:
            return f"is not in the run's {NAME}"
        try:
            with regular(path) as file:
                if os.fstat(file.fileno()).st_size != expected.size:
                    return "is damaged: it has another size than the run wrote"
            if FileSum.read(path) != expected:
                return "is damaged: it does not hold what the run wrote"
        except OSError as error:
            if error.errno in _GONE and not path.is_symlink():
                return "is missing"
            return f"cannot be read: {error.strerror or error}"
        return ""

    def check(self, name: str) -> None:
        """Make sure that a file of the run is what the run wrote.

        Raises:
            DamagedRunError: it is not.
        """
        if problem := self.problem(name):
            raise DamagedRunError(f"{self.folder / name} {problem}; {_REDO}")


class _Sum(BaseModel):
    model_config = ConfigDict(strict=True)
    bytes: int
    blake2b: str


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)
    identity: str
    about: dict[str, Any]
    files: dict[str, _Sum]


def identity_of(about: Mapping[str, Any]) -> str:
    """Hash (hex) of what a run is made from and by, as JSON holds it."""
    return _hash(_canonical(about))


def sealed(about: Mapping[str, Any], files: Mapping[str, FileSum]) -> bytes:
    """The content of a manifest."""
    record = {
        "format": FORMAT,
        "identity": identity_of(about),
        "about": about,
        "files": {
            name: {"bytes": file.size, "blake2b": file.blake2b} for name, file in files.items()
        },
    }
    return json.dumps(record | {"checksum": _hash(_canonical(record))}, indent=1).encode() + b"\n"


def read_manifest(folder: Path) -> Manifest | None:
    """A run's manifest; None where it has none.

    Raises:
        DamagedRunError: it is not what a run wrote.
        StoreError: a newer privaudit made it.
    """
    path = folder / NAME
    if not os.path.lexists(path):
        return None
    try:
        record = json.loads(read_file(path))
        own = record.pop("checksum")
        if not isinstance(own, str) or own != _hash(_canonical(record)):
            raise DamagedRunError(f"{path} is damaged: its checksum is wrong; {_REDO}")
        if isinstance(record["format"], int) and record["format"] > FORMAT:
            raise StoreError(
                f"{path} was made by a newer privaudit (format {record['format']}, this one reads "
                f"{FORMAT}): upgrade privaudit"
            )
        stored = _Record.model_validate(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = "a part is wrong" if isinstance(error, ValidationError) else "it is no manifest"
        raise DamagedRunError(f"{path} is damaged: {what}; {_REDO}") from error
    if stored.identity != identity_of(stored.about):
        raise DamagedRunError(f"{path} is damaged: its identity is wrong; {_REDO}")
    files = {name: FileSum(file.bytes, file.blake2b) for name, file in stored.files.items()}
    return Manifest(folder, stored.identity, stored.about, files)


def read_file(path: Path) -> bytes:
    """The whole content of a file of a run.

    Raises:
        DamagedRunError: it is no regular file, or larger than any that a run writes.
        StoreError: it is not there, or may not be read.
    """
    try:
        with regular(path) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST:
                raise DamagedRunError(f"{path} is damaged: it is too large; {_REDO}")
            return file.read(_LARGEST)
    except IrregularError as error:
        raise DamagedRunError(f"{path} is damaged: {error.strerror}; {_REDO}") from error
    except OSError as error:
        kind = DamagedRunError if path.is_symlink() else StoreError
        raise kind(f"cannot read {path}: {error.strerror or error}; {_REDO}") from error


def _canonical(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=32).hexdigest()
