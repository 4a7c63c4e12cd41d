"""The one door for files that people have: what they are is looked at before they are opened.

Only regular files are read: a pipe, a socket or a device may have no end, or wait for ever.
Whatever the system refuses is one line, `PATH: cannot be read: REASON`, and so it is where somebody
only asks whether a file is there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from privaudit.errors import DataError, PrivauditError
from privaudit.messages import plain as plain
from privaudit.readers.file_path import FilePath
from privaudit.readers.regular import regular

Kind = Literal["file", "folder", "other", "nothing"]
"""What there is at a path; `other` is a pipe, a socket or a device."""

Refusal = Callable[[str], PrivauditError]
"""From a line of text to the error that says it."""

_MISSING = (errno.ENOENT, errno.ENOTDIR)


def kind(path: str | Path, refusal: Refusal = DataError) -> Kind:
    """What there is at a path, behind its links.

    Raises:
        PrivauditError: the system does not tell; from `refusal`.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _MISSING:
            return "nothing"
        raise unreadable(path, error, refusal) from error
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def exists(path: str | Path, refusal: Refusal = DataError) -> bool:
    """Whether there is something at a path that is no folder.

    Raises:
        PrivauditError: the system does not tell; from `refusal`.
    """
    return kind(path, refusal) in ("file", "other")


def expanded(path: str | Path, refusal: Refusal = DataError) -> Path:
    """A path with the home that a `~` at its beginning stands for.

    A recipe's `FilePath` leads into the first of its folders in which there is something.

    Raises:
        PrivauditError: no such home is known; from `refusal`.
    """
    try:
        return (path.found if isinstance(path, FilePath) else Path(path)).expanduser()
    except RuntimeError as error:
        raise refusal(plain(f"{path}: cannot be read: {error}")) from error


def located(path: str | Path, refusal: Refusal = DataError, folder: str | Path = ".") -> Path:
    """Where a path leads, absolutely and behind its links, even where there is nothing.

    Args:
        path: may begin with `~`.
        refusal: makes the error.
        folder: that a relative path starts from.

    Raises:
        PrivauditError: it leads nowhere; from `refusal`.
    """
    try:
        return Path(os.path.realpath(folder / expanded(path, refusal)))
    except (OSError, ValueError) as error:
        raise unreadable(path, error, refusal) from error


@contextmanager
def opened(path: str | Path, refusal: Refusal = DataError) -> Iterator[BinaryIO]:
    """A regular file to be read, which is closed at the end.

    Args:
        path: the file.
        refusal: makes the error.

    Raises:
        PrivauditError: it is no regular file, or the system refuses; from `refusal`.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(regular(path))
        except (OSError, ValueError) as error:
            raise unreadable(path, error, refusal) from error
        yield file


def content(
    path: str | Path, limit: int, refusal: Refusal = DataError, what: str = "such file"
) -> bytes:
    """What a regular file holds.

    Args:
        path: the file.
        limit: bytes that it may have at most.
        refusal: makes the error.
        what: it is, such as "recipe", for the message that it is too large.

    Raises:
        PrivauditError: as `opened`; it holds more; from `refusal`.
    """
    with opened(path, refusal) as file:
        try:
            # the size that a file claims is no limit to what it gives: those of /proc claim 0
            data = file.read(limit + 1)
        except OSError as error:
            raise unreadable(path, error, refusal) from error
    if len(data) > limit:
        raise refusal(plain(f"{path}: is larger than {amount(limit)}, which no {what} is"))
    return data


def unreadable(
    path: str | Path, error: OSError | ValueError, refusal: Refusal = DataError
) -> PrivauditError:
    """The error of a file that the system does not let anybody read."""
    reason = "its name holds a character that no name may"
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
    return refusal(plain(f"{path}: cannot be read: {reason}"))


def amount(size: int) -> str:
    """Bytes as people say them.

    >>> amount(1 << 20), amount(3 << 29)
    ('1 MiB', '1.5 GiB')
    """
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:,.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"
