"""What stands where something of ours should, and is not it, is renamed: nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

from privaudit.errors import StoreError

ASIDE = ".damaged"


def set_aside(path: Path) -> Path | None:
    """Rename whatever lies in a place to the first free name beside it.

    Returns:
        Where it is now, NAME.damaged or NAME.2.damaged and so on; None where nothing was.

    Raises:
        StoreError: it cannot be renamed.
    """
    number, aside = 1, path.with_name(path.name + ASIDE)
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.{number}{ASIDE}")
    try:
        path.rename(aside)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(
            f"{path} cannot be used, nor set aside: {error.strerror or error}; remove it, or name "
            "another folder"
        ) from error
    return aside
