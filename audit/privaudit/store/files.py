"""Files written whole or not at all, and folders that only their owner can read.

A file is written beside its place under a temporary name, synced to disk and renamed over the
old one, so that whoever kills the program, or cuts the power, leaves the old file or the new
one, never half of either. A killed program may leave temporary files behind: their names start
with `TEMPORARY` and nothing reads them.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from privaudit.errors import StoreError

TEMPORARY = ".tmp-"


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write one file whole or not at all, into a folder that exists.

    Raises:
        StoreError: the file cannot be written; the old one, if any, is untouched.
    """
    write_many([(path, data)], mode=mode)


def write_many(items: Iterable[tuple[Path, bytes]], *, mode: int = 0o600) -> None:
    """Write several files, each whole or not at all, and sync each folder once.

    No file takes its place before all are safe on disk.

    Raises:
        StoreError: a file cannot be written; files already in place stay.
    """
    waiting: list[tuple[Path, Path]] = []
    folders: dict[Path, None] = {}
    path = Path()
    try:
        for path, data in items:
            if path.exists() and not path.is_file():  # a device would become a file
                raise IsADirectoryError(errno.EISDIR, "it is no regular file")
            waiting.append((_write_temporary(path.parent, data, mode), path))
            folders[path.parent] = None
        while waiting:
            temporary, path = waiting[0]
            temporary.replace(path)
            del waiting[0]
        for path in folders:
            _sync_folder(path)
    except OSError as error:
        raise _failure(path, error) from error
    finally:
        for temporary, _ in waiting:
            _remove(temporary)


def check_writable(path: Path) -> None:
    """Make sure, as far as that can be known, that a file could be written now.

    Raises:
        StoreError: its folder does not exist, or nothing can be written into it.
    """
    try:
        with tempfile.TemporaryFile(dir=path.parent, prefix=TEMPORARY):
            pass
    except OSError as error:
        raise _failure(path, error) from error


def remove(path: Path) -> None:
    """Remove a file, if there is one.

    Raises:
        StoreError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _failure(path, error) from error


def private_folder(path: Path) -> None:
    """Make a folder, and its parents, that its owner alone can enter (mode 0700).

    A folder that is already there keeps its mode.

    Raises:
        StoreError: it is a file, or nothing can be written into it.
    """
    try:
        missing = [path, *path.parents]
        for folder in reversed(missing[: next(i for i, p in enumerate(missing) if p.is_dir())]):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)  # whatever the umask
            _sync_folder(folder.parent)
        with tempfile.TemporaryFile(dir=path, prefix=TEMPORARY):
            pass
    except FileExistsError as error:
        raise StoreError(
            f"{error.filename} is a file, not a folder: remove it or name another"
        ) from error
    except OSError as error:
        raise _failure(path, error) from error


def _write_temporary(folder: Path, data: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except BaseException:
        _remove(Path(name))
        raise
    return Path(name)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what file systems that cannot sync a folder answer
            raise
    finally:
        os.close(descriptor)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _failure(path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    return StoreError(f"cannot write {path}: {reason}; mend that and run the same command again")
