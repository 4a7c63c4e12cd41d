"""Opening a regular file, and nothing that would wait for a writer or never end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "it is a folder, not a file",
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


class IrregularError(OSError):
    """A folder, pipe, socket or device stands where a file should."""


@contextmanager
def regular(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading, which is closed at the end.

    Every file that privaudit reads is opened, or looked at, here.

    Raises:
        IrregularError: it is something else.
        OSError: the system refuses.
        ValueError: no file can have that name.
    """
    try:
        # without O_NONBLOCK a pipe nobody writes to would hold the program here for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise IrregularError(error.errno, _KINDS[stat.S_IFSOCK]) from error
        raise
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            raise IrregularError(errno.EINVAL, _KINDS.get(kind, "it is no regular file"))
        file = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with file:
        yield file
