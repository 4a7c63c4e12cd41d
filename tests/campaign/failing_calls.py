"""Calls of the system that fail, one in every run."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.campaign._case import Case
from tests.campaign._command import complaint, digits, privaudit
from tests.campaign._undisturbed import undisturbed
from tests.campaign.runs import numbers

QUESTION = "Does a call that fails, whichever it is, cost a line and no result?"

_CALLS: dict[str, tuple[int, ...]] = {
    "open": (errno.EACCES, errno.EMFILE, errno.EIO),
    "read": (errno.EIO,),
    "pread": (errno.EIO,),
    "mkdir": (errno.ENOSPC, errno.EROFS),
    "replace": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO,),
    "fsync": (errno.EIO, errno.ENOSPC),
    "fchmod": (errno.EPERM,),
    "chmod": (errno.EPERM,),
    "unlink": (errno.EACCES,),
    "rmdir": (errno.EACCES,),
    "scandir": (errno.EACCES,),
    "listdir": (errno.EACCES,),
    "stat": (errno.EACCES, errno.EIO),
    "lstat": (errno.EACCES,),
    "utime": (errno.EPERM,),
    "ftruncate": (errno.ENOSPC,),
    "pwrite": (errno.ENOSPC,),
}
"""Functions of `os`, and with what they may fail."""

_FIRST = 12  # calls of each on the way of one run; later ones fail in the same places


def _fail(name: str, which: int, number: int, folder: Path) -> None:
    """Let one call, among those about a folder, fail."""
    true: Callable[..., Any] = getattr(os, name)
    count = iter(range(10**9))
    open_ones: set[int] = set()

    def about(path: object) -> bool:
        if isinstance(path, int):
            return path in open_ones
        return isinstance(path, str | os.PathLike) and str(folder) in os.path.abspath(path)  # noqa: PTH100

    def failing(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        if about(path) and next(count) == which:
            raise OSError(number, os.strerror(number), None if isinstance(path, int) else str(path))
        result = true(path, *arguments, **options)
        return result

    opening = os.open

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = opening(path, *arguments, **options)
        if about(path):
            open_ones.add(descriptor)
        return descriptor

    if name == "open":
        true_open = builtins.open

        def failing_open(path: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int) and about(path) and next(count) == which:
                raise OSError(number, os.strerror(number), str(path))
            return true_open(path, *arguments, **options)

        builtins.open = io.open = failing_open  # type: ignore[assignment]
        os.open = failing
        return
    os.open = opened
    setattr(os, name, failing)


def _failed(name: str, which: int, number: int, again: bool, folder: Path) -> str:
    home = folder / "home"
    home.mkdir()
    digits(home)
    run = ("run", "recipe.yaml", "--output", "run", "--processes", "1")
    if again and (problem := complaint(privaudit(*run, cwd=home), 0)):
        return f"before: {problem}"
    before = partial(_fail, name, which, number, home)
    ran = privaudit(*run, cwd=home, before=before)
    if problem := complaint(ran, 0, 1, 2):
        return problem
    if problem := complaint(privaudit(*run, cwd=home), 0):
        return f"afterwards: {problem}"
    same = numbers(home / "run") == numbers(undisturbed()[0] / "run")
    return "" if same else "other numbers than the undisturbed run's"


def cases(seed: int) -> Iterator[Case]:
    """Every call, at each of its first times, in a fresh run and in one that is read back."""
    for again in (False, True):
        for name, numbers_of_errors in _CALLS.items():
            for number in numbers_of_errors:
                for which in range(_FIRST):
                    what = f"{'reading back' if again else 'fresh'}: {name} {which}"
                    yield Case(
                        f"{what}: {errno.errorcode[number]}",
                        partial(_failed, name, which, number, again),
                    )
