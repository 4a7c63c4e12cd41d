"""The models of a run: written aside while it goes on, put in place when it is finished.

So no model of a run that was stopped is ever taken for one of the finished run beside it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from hashlib import blake2b
from pathlib import Path

from privaudit.errors import StoreError
from privaudit.store.aside import set_aside
from privaudit.store.files import private_folder
from privaudit.store.record import MODELS

UNFINISHED = "models.unfinished"
_KIND = ".safetensors"


def begin(folder: Path) -> None:
    """Remove the models that a run, stopped before its end, has left in its folder.

    Raises:
        StoreError: they cannot be removed.
    """
    path = folder / UNFINISHED
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror or error}") from error


def unfinished(folder: Path) -> list[str]:
    """Names of the models that a run has written so far."""
    path = folder / UNFINISHED
    return sorted(file.name for file in path.iterdir()) if path.is_dir() else []


def finish(folder: Path) -> None:
    """Put the models of this run where those of an earlier one may be, which are removed.

    Raises:
        StoreError: the folder cannot be written.
    """
    models, new = folder / MODELS, unfinished(folder)
    try:
        if os.path.lexists(models) and not models.is_dir():
            set_aside(models)
        if new:
            private_folder(models)
        for name in new:
            if (models / name).is_dir():
                set_aside(models / name)
            (folder / UNFINISHED / name).replace(models / name)
        for path in models.iterdir() if models.is_dir() else ():
            if path.suffix == _KIND and path.name not in new and not path.is_dir():
                path.unlink()
        begin(folder)
    except OSError as error:
        raise StoreError(f"cannot write {models}: {error.strerror or error}") from error


def set_file_aside(folder: Path, name: str) -> Path | None:
    """Rename what stands where a file of a run should be.

    Args:
        folder: of the run.
        name: of the file, as its manifest has it.

    Returns:
        Where it is now; None where there was nothing.

    Raises:
        StoreError: it cannot be renamed.
    """
    path = folder / name
    if path.parent != folder and not path.parent.is_dir():
        path = path.parent  # a file or a pipe stands where the folder was
    return set_aside(path)


def model_path(folder: Path, subject: str, level: str, seed: int, target: int) -> Path:
    """Where a run keeps the weights of one model; a safe file name whatever the labels are.

    The digest at its end keeps labels apart that spell alike once made safe.

    >>> model_path(Path("run"), "imp", "round 3", 0, 1).name[:28]
    'imp-round-3-seed-0-target-1-'
    """
    words = [re.sub(r"[^A-Za-z0-9]+", "-", label)[:40].strip("-") for label in (subject, level)]
    digest = blake2b(json.dumps([subject, level]).encode(), digest_size=4).hexdigest()
    name = "-".join(filter(None, [*words, f"seed-{seed}-target-{target}", digest]))
    return folder / MODELS / f"{name}{_KIND}"
