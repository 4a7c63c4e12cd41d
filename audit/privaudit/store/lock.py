"""One run at a time in a folder: a lock that tells who holds it, and that the dead cannot hold.

The lock is the system's own (flock), which ends with its process however that ends. Shared disks do
not all keep such locks, so the file also says who wrote it, and its time of change is a heartbeat.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from privaudit.errors import StoreError
from privaudit.messages import plain
from privaudit.readers.regular import regular
from privaudit.store.files import TEMPORARY, private_folder

NAME = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
_BEAT = 10.0  # seconds between two signs of life
_DEAD = 6 * _BEAT  # seconds without one, after which another machine's run counts as dead


@dataclass(frozen=True)
class Holder:
    """Who has the lock of a folder, as far as it can be told without disturbing anybody.

    Attributes:
        who: process and machine.
        quiet: seconds since its last sign of life, by this machine's clock.
        alive: whether it works; None where that cannot be told.
        why: what speaks for this.
    """

    who: str
    quiet: float
    alive: bool | None
    why: str


def holder(folder: Path) -> Holder | None:
    """Who has the lock of a run's folder, or had it when it was killed; None where nobody has.

    The lock itself is not tried: a run that began at that moment would be refused.
    """
    try:
        with regular(folder / NAME) as file:
            owner, changed = _owner(file.fileno()), os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    host, process = str(owner.get("host", "?")), owner.get("process")
    who = plain(f"process {process} on {host}")
    quiet = max(0.0, time.time() - changed)
    here = host == platform.node() and isinstance(process, int) and process > 0
    if here and not _there(process):
        return Holder(who, quiet, False, "there is no such process any more")
    if quiet < _DEAD:
        return Holder(who, quiet, True, "it gives a sign of life every few seconds")
    if here:
        why = "a process of this number is there, stopped perhaps, or another program"
    else:
        why = "it was on another machine"
    return Holder(who, quiet, None, why)


def _there(process: object) -> bool:
    """Whether a process of this machine has a number."""
    try:
        os.kill(int(str(process)), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Be the only run in a folder, and remove what killed ones have left half written.

    Args:
        folder: made where it is missing.

    Raises:
        StoreError: another run works there, or the folder cannot be written.
    """
    new = not folder.exists()
    private_folder(folder)
    path = folder / NAME
    descriptor = _taken(path)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(descriptor, stop), daemon=True)
    beating.start()
    try:
        for left in folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError):
                left.unlink()
        yield
    finally:
        stop.set()
        beating.join()
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        if new:
            with suppress(OSError):  # what it holds stays
                folder.rmdir()


def _taken(path: Path) -> int:
    """The locked file, under its name."""
    while True:
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; remove it") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise _busy(path, owner) from None
        except OSError:  # a disk without such locks: the heartbeat has to do
            pass
        owner, about = _owner(descriptor), os.fstat(descriptor)
        elsewhere = owner.get("host", platform.node()) != platform.node()
        if elsewhere and time.time() - about.st_mtime < _DEAD:
            os.close(descriptor)
            raise _busy(path, owner)
        with suppress(OSError):
            if os.path.samestat(about, path.stat()):  # else its owner has just removed it
                _sign(descriptor)
                return descriptor
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    owner = {"host": platform.node(), "process": os.getpid(), "since": time.strftime("%F %T")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _owner(descriptor: int) -> dict[str, object]:
    with suppress(OSError, ValueError):
        owner = json.loads(os.pread(descriptor, 1000, 0))
        if isinstance(owner, dict):
            return owner
    return {}


def _busy(path: Path, owner: dict[str, object]) -> StoreError:
    who = f"process {owner.get('process', '?')} on {owner.get('host', '?')}"
    return StoreError(
        plain(
            f"{path.parent}: another run works here, {who}, since {owner.get('since', '?')}: wait "
            "for it, or name another --output"
        )
    )


def _beat(descriptor: int, stop: threading.Event) -> None:
    while not stop.wait(_BEAT):
        with suppress(OSError):
            os.utime(descriptor)
