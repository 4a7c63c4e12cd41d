"""NumPy files: an archive of arrays by name, or one array a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain, unknown
from privaudit.outputs.files.part import Part, joined
from privaudit.outputs.kinds import Kind
from privaudit.readers.archive import read_npy, read_npz

ANSWERS = get_args(Kind)
"""Names of the target's answers, each of which says what they are; the shadows' with `shadow_`."""

ALIASES = {"predictions": "logits", "label_ids": "labels"}
"""As Hugging Face's `Trainer.predict` calls them."""

_SIDES = {"train_": True, "test_": False}
_OTHERS = (
    "labels",
    "members",
    "shadow_members",
    "audited",
    "x",
    "noisy",
    "shadow_noisy",
    "noise_scale",
    "classes",
)
_BESIDE = ("shadow", "original", "shadow_original")  # networks beside the target
_ANSWERS_BESIDE = tuple(f"{which}_{name}" for which in _BESIDE for name in ANSWERS)
ARRAYS = (*ANSWERS, *_OTHERS[:2], *_ANSWERS_BESIDE, *_OTHERS[2:])


def read_archive(path: Path, kind: str | None, needs_member: bool) -> Part:
    """The arrays of a .npz file; nothing in it is unpickled.

    Args:
        path: of the archive.
        kind: what arrays called logits hold, where that is something else.
        needs_member: whether the file itself says who is a member.

    Raises:
        DataError: there is no such file, it is no such archive or damaged, or it lacks an array
            or holds one of another name, which would otherwise be left out unnoticed; or names
            contradict each other or `kind`.
    """
    try:
        arrays = read_npz(path, partial(_checked, path, kind, needs_member))
        return _part(path, arrays, kind)
    except DataError as error:
        raise DataError(plain(str(error))) from error


def read_arrays(paths: Sequence[Path], kind: str | None, needs_member: bool) -> Part:
    """Arrays of .npy files, which are called as the files are.

    Raises:
        DataError: as `read_archive`.
    """
    names = [path.stem for path in paths]
    where = paths[0].parent / f"{{{','.join(names)}}}.npy" if len(paths) > 1 else paths[0]
    try:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{where}: two arrays are called {twice}")
        if len(names) == 1:
            raise DataError(
                f"{where}: holds one array: give labels.npy and members.npy with it, or an archive "
                "made with np.savez"
            )
        _checked(where, kind, needs_member, names)
        return _part(where, {path.stem: read_npy(path) for path in paths}, kind)
    except DataError as error:
        raise DataError(plain(str(error))) from error


def _part(path: Path, arrays: dict[str, Any], kind: str | None) -> Part:
    if sides := _sides(list(arrays)):
        parts = []
        for prefix in sides:
            own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
            parts.append(_part(path, own, kind).flagged(_SIDES[prefix]))
        whole = joined(parts)
        sentence = "arrays called train_ are taken for members, and test_ for non-members"
        return replace(whole, said=(sentence, *whole.said))
    said = []
    for alias, called in ALIASES.items():
        if alias in arrays:
            arrays[called] = arrays.pop(alias)
            said.append(f"{alias} are taken for {called}")
    name = next(name for name in ANSWERS if name in arrays)
    arrays["logits"] = arrays.pop(name)
    for which in _BESIDE:
        if f"{which}_{name}" in arrays:
            arrays[f"{which}_logits"] = arrays.pop(f"{which}_{name}")
    classes = tuple(str(one) for one in np.atleast_1d(arrays.pop("classes", ())).tolist())
    if "noise_scale" in arrays:
        arrays["noise_scale"] = _number(path, arrays["noise_scale"])
    return Part(str(path), kind or name, arrays, classes, tuple(said))


def _number(path: Path, array: Any) -> float:
    if np.size(array) != 1 or np.asarray(array).dtype.kind not in "iuf":
        raise DataError(f"{path}: noise_scale must be one number")
    return float(np.asarray(array).reshape(()))


def _sides(names: Sequence[str]) -> list[str]:
    """The prefixes, where every name has one and both occur."""
    if all(name.startswith(tuple(_SIDES)) for name in names):
        return [p for p in _SIDES if any(name.startswith(p) for name in names)]
    return []


def _checked(path: Path, kind: str | None, needs_member: bool, names: list[str]) -> list[str]:
    if sides := _sides(names):
        if len(sides) < len(_SIDES):
            lacking = next(prefix for prefix in _SIDES if prefix not in sides)
            raise DataError(f"{path}: lacks arrays called {lacking}logits and {lacking}labels")
        for prefix in sides:
            own = [n.removeprefix(prefix) for n in names if n.startswith(prefix)]
            _checked(path, kind, False, own)
        return names
    called = [ALIASES.get(name, name) for name in names]
    for name in names:
        if name not in (*ARRAYS, *ALIASES):
            raise DataError(f"{path}: {unknown('array', name, ARRAYS)}")
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: holds {twice} twice, under two names: keep one")
    target = [name for name in ANSWERS if name in called]
    others = [name for name in ANSWERS if any(f"{which}_{name}" in called for which in _BESIDE)]
    if not target:
        raise DataError(
            f"{path}: lacks the array 'logits' (or {', '.join(ANSWERS[1:])}, if that is what the "
            "network answers)"
        )
    if "labels" not in called:
        raise DataError(f"{path}: lacks the array 'labels'")
    if needs_member and "members" not in called:
        raise DataError(
            f"{path}: lacks the array 'members': add it, or give two files, --members and "
            "--non-members"
        )
    if len(target) > 1 or (others and others != target):
        both = ", ".join([*target, *(name for name in _ANSWERS_BESIDE if name in called)])
        raise DataError(
            f"{path}: holds {both}: give the answers of all networks once, and all in one kind"
        )
    if kind and target != ["logits"] and target != [kind]:
        raise DataError(
            f"{path}: holds {target[0]}, which --kind {kind} contradicts: leave --kind out, or "
            "rename the array"
        )
    return names
