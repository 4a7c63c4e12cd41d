"""What a report was made from, for JSON: each run's options, and its files with their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from privaudit.readers.door import opened
from privaudit.report.names import run_names
from privaudit.store.manifest import NAME
from privaudit.store.record import RESULT
from privaudit.store.result import RunResult

_READ = (RESULT, "scores.npz", "recipe.yaml", NAME)
"""The files of a run that a report reads, or that say what it is."""


def file_record(path: Path, name: str | None = None) -> dict[str, Any]:
    """A file's name, size and SHA-256 (hex).

    Args:
        path: of the file.
        name: what to call it; the last part of its path if not given.

    Raises:
        DataError: it cannot be read.
    """
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        size = file.tell()
    return {"name": name or path.name, "bytes": size, "sha256": digest}


def run_files(result: RunResult) -> list[Path]:
    """The files of a run that a report reads, of those that are there."""
    if result.folder is None:
        return []
    return [result.folder / name for name in _READ if (result.folder / name).is_file()]


def run_records(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """What each run was asked and made by.

    Raises:
        DataError: a file cannot be read.
    """
    return [
        {
            "run": name,
            "privaudit": result.environment.get("privaudit"),
            "seeds": sorted({audit.seed for audit in result.audits}),
            "attacks": _attacks(result.recipe),
            "delta": sorted(
                {d for a in result.audits if (d := a.metrics.get("delta")) is not None}
            ),
            "files": [file_record(path) for path in run_files(result)],
        }
        for name, result in zip(run_names(results), results, strict=True)
    ]


def _attacks(recipe: Mapping[str, Any]) -> list[Any]:
    """The attacks of a recipe, with every option."""
    attacks = recipe.get("attacks")
    return attacks if isinstance(attacks, list) else []
