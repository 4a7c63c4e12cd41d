"""The arrays of an audit from a NumPy archive, by name."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain, unknown

REQUIRED = ("logits", "labels", "members")
ARRAYS = (*REQUIRED, "shadow_logits", "shadow_members", "audited", "x")


def read_archive(path: Path) -> dict[str, Any]:
    """The arrays of a .npz file; nothing in it is unpickled.

    Raises:
        DataError: there is no such file, it is no such archive or damaged, or it lacks an array
            or holds one of another name, which would otherwise be left out unnoticed.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            raise DataError(plain(f"{path} holds one array: make an archive with np.savez"))
        with found:
            _check_names(path, found.files)
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise DataError(plain(f"{path} cannot be read: {error.strerror or error}")) from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        pickled = str(error).startswith("Object arrays")
        what = "holds objects, not numbers" if pickled else "is damaged, or no archive"
        raise DataError(
            plain(f"{path} {what}: make it with np.savez out of arrays of numbers")
        ) from error


def _check_names(path: Path, names: list[str]) -> None:
    for name in names:
        if name not in ARRAYS:
            raise DataError(plain(f"{path}: {unknown('array', name, ARRAYS)}"))
    for name in REQUIRED:
        if name not in names:
            raise DataError(plain(f"{path} lacks the array {name!r}"))
