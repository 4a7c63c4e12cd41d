"""Folders of what is lent to other processes, gone with the process that lends them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "privaudit-lent-"
_ALIVE = ".alive"  # locked for as long as its process lives, however that ends
_YOUNG = 3600  # seconds for which a folder may still lack it


class LentFolder:
    """A folder that its owner alone can enter, until `close`; the killed leave it to `sweep`.

    Attributes:
        path: where it is.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)  # mode 0700
        self.path = Path(self._folder.name)
        self._alive = os.open(self.path / _ALIVE, os.O_WRONLY | os.O_CREAT, 0o600)
        with suppress(OSError):  # a disk that has no locks: then nothing is swept either
            fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove it."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        self._folder.cleanup()


def sweep() -> None:
    """Remove what processes of this user that are no more have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            about = path.lstat()
            if about.st_uid == os.getuid() and _dead(path, time.time() - about.st_mtime):
                shutil.rmtree(path)


def _dead(path: Path, age: float) -> bool:
    try:
        alive = os.open(path / _ALIVE, os.O_WRONLY)
    except FileNotFoundError:
        return age > _YOUNG
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(alive)
    return True
