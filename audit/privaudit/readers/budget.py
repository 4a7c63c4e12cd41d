"""How much memory the content of a file may take: asked before it is read."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from privaudit.errors import DataError
from privaudit.jobs.memory import free_memory
from privaudit.messages import plain
from privaudit.readers.door import amount

_limit: ContextVar[int | None] = ContextVar("memory of a run", default=None)


@contextmanager
def limited_to(memory: int | None) -> Iterator[None]:
    """Read files within so many bytes of memory; None: within a share of what is free."""
    token = _limit.set(memory)
    try:
        yield
    finally:
        _limit.reset(token)


def allowed() -> int:
    """Bytes that may be used: as said, or else three quarters of what is free.

    Never more than the limit of the process's address space leaves (`ulimit -v`).
    """
    said = _limit.get()
    share = free_memory() * 3 // 4 if said is None else said
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return share
    used = 0
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * resource.getpagesize()
    return min(share, max(0, most - used) * 3 // 4)


def check(path: str | Path, needed: int, what: str) -> None:
    """See that there is memory for something.

    Args:
        path: the file that it comes from.
        needed: bytes.
        what: to be read before "takes", such as "its array x".

    Raises:
        DataError: there is not.
    """
    most = allowed()
    if needed > most:
        raise DataError(
            plain(
                f"{path}: {what} takes {amount(needed)} of memory, and {amount(most)} may be used: "
                "make it smaller, or give more by --memory"
            )
        )
