"""result.json and scores.npz as they are written, and result.json as it is read."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import StoreError, UnfinishedError
from privaudit.store.manifest import NAME, DamagedRunError, FileSum, read_file, read_manifest

RESULT = "result.json"
MODELS = "models"


def read_record(path: Path, verify: bool) -> tuple[Path, dict[str, Any]]:
    """The file of a run's result, and what it holds.

    Args:
        path: of the file, or of its folder.
        verify: whether to hold it against the manifest of its folder.

    Raises:
        StoreError: it is missing, damaged, or not what the run wrote.
    """
    if path.is_dir() and (path.name != RESULT or (path / RESULT).exists()):
        path = path / RESULT
    if not os.path.lexists(path):
        if path.parent.is_dir() and path.name == RESULT:
            raise UnfinishedError(
                f"{path.parent} has no result.json: it is no run folder, or its run has not "
                "finished (running its recipe again goes on where it stopped)"
            )
        raise StoreError(f"{path}: no such run; `privaudit run RECIPE` makes one")
    content = read_file(path)
    manifest = read_manifest(path.parent) if verify and path.name == RESULT else None
    if manifest is not None and manifest.files.get(RESULT) != FileSum.of(content):
        raise DamagedRunError(
            f"{path} is damaged: it does not hold what the run wrote, as {NAME} beside it tells; "
            "run its recipe again"
        )
    try:
        data = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise DamagedRunError(
            f"{path} is damaged, or no result of privaudit: not JSON ({error}); "
            "run its recipe again"
        ) from error
    if not isinstance(data, dict):
        raise DamagedRunError(f"{path} is not a result of privaudit: it holds no JSON object")
    if verify and manifest is None and "identity" in data and _in_its_folder(path):
        raise DamagedRunError(
            f"{path.parent / NAME}: no such file, though the run wrote one; run its recipe again"
        )
    return path, data


def _in_its_folder(path: Path) -> bool:
    """Whether a result lies among the other files of its run: a copy elsewhere has none."""
    return path.name == RESULT and any(
        os.path.lexists(path.parent / name) for name in ("recipe.yaml", "scores.npz", MODELS)
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def without_nan(value: Any) -> Any:
    """The value with plain numbers, and None for what JSON has no number for."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as scores.npz holds them."""
    # np.savez would pickle objects and stumble over an array called "file".
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()
