"""The arrays of an audit from a NumPy archive, by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from privaudit.errors import DataError
from privaudit.messages import plain, unknown
from privaudit.readers.npz import read_npz

REQUIRED = ("logits", "labels", "members")
ARRAYS = (*REQUIRED, "shadow_logits", "shadow_members", "audited", "x")


def read_archive(path: Path) -> dict[str, Any]:
    """The arrays of a .npz file; nothing in it is unpickled.

    Raises:
        DataError: there is no such file, it is no such archive or damaged, or it lacks an array
            or holds one of another name, which would otherwise be left out unnoticed.
    """
    try:
        return read_npz(path, partial(_checked_names, path))
    except DataError as error:
        raise DataError(plain(str(error))) from error


def _checked_names(path: Path, names: list[str]) -> list[str]:
    for name in names:
        if name not in ARRAYS:
            raise DataError(f"{path}: {unknown('array', name, ARRAYS)}")
    for name in REQUIRED:
        if name not in names:
            raise DataError(f"{path}: lacks the array {name!r}")
    return names
