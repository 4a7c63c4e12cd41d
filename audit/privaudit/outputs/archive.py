"""The arrays of an audit from a NumPy archive, by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, get_args

from privaudit.errors import DataError
from privaudit.messages import plain, unknown
from privaudit.outputs.kinds import Kind
from privaudit.readers.npz import read_npz

ANSWERS = get_args(Kind)
"""Names of the target's answers, each of which says what they are; the shadows' with `shadow_`."""

REQUIRED = ("labels", "members")
ARRAYS = (
    *ANSWERS,
    *REQUIRED,
    *(f"shadow_{name}" for name in ANSWERS),
    "shadow_members",
    "audited",
    "x",
)


def read_archive(path: Path, kind: str | None = None) -> dict[str, Any]:
    """The arrays of a .npz file, as arguments of `audit_outputs`; nothing in it is unpickled.

    Args:
        path: of the archive.
        kind: what arrays called logits hold, where that is something else.

    Raises:
        DataError: there is no such file, it is no such archive or damaged, or it lacks an array
            or holds one of another name, which would otherwise be left out unnoticed; or names
            contradict each other or `kind`.
    """
    try:
        arrays = read_npz(path, partial(_checked_names, path, kind))
    except DataError as error:
        raise DataError(plain(str(error))) from error
    name = next(name for name in ANSWERS if name in arrays)
    answers = {"logits": arrays.pop(name)}
    if f"shadow_{name}" in arrays:
        answers["shadow_logits"] = arrays.pop(f"shadow_{name}")
    return {**answers, **arrays, "kind": kind or name}


def _checked_names(path: Path, kind: str | None, names: list[str]) -> list[str]:
    for name in names:
        if name not in ARRAYS:
            raise DataError(f"{path}: {unknown('array', name, ARRAYS)}")
    target = [name for name in ANSWERS if name in names]
    shadows = [name for name in ANSWERS if f"shadow_{name}" in names]
    if not target:
        raise DataError(
            f"{path}: lacks the array 'logits' (or {', '.join(ANSWERS[1:])}, if that is what the "
            "network answers)"
        )
    for name in REQUIRED:
        if name not in names:
            raise DataError(f"{path}: lacks the array {name!r}")
    if len(target) > 1 or (shadows and shadows != target):
        both = ", ".join([*target, *(f"shadow_{name}" for name in shadows)])
        raise DataError(
            f"{path}: holds {both}: give the answers of all networks once, and all in one kind"
        )
    if kind and target != ["logits"] and target != [kind]:
        raise DataError(
            f"{path}: holds {target[0]}, which --kind {kind} contradicts: leave --kind out, or "
            "rename the array"
        )
    return names
