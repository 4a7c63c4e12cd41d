"""What one file says about its examples, and several files together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain
from privaudit.outputs.axes import example_axis


@dataclass(frozen=True)
class Part:
    """Examples of one file.

    Attributes:
        name: of the file, for messages.
        kind: what the answers are.
        arrays: by the argument of `audit_outputs`.
        classes: names of the classes, in the order of the answers; empty where the file has none.
        said: what was decided in reading it.
        table: whether `classes` are names of columns, by which labels may go.
    """

    name: str
    kind: str
    arrays: dict[str, Any]
    classes: tuple[str, ...] = ()
    said: tuple[str, ...] = field(default=())
    table: bool = False

    @property
    def count(self) -> int:
        """How many examples it has, by its labels."""
        return len(self.arrays["labels"])

    def flagged(self, member: bool | None, audited: bool = True) -> Part:
        """The same, of which all are members, or none.

        Raises:
            DataError: it says something else itself.
        """
        if member is None:
            return self
        own = self.arrays.get("members")
        if own is not None and bool((np.asarray(own, dtype=float) != member).any()):
            side = "a member" if not member else "no member"
            raise DataError(
                f"{self.name}: is given as {'members' if member else 'non-members'}, and says "
                f"itself that a row is {side}: give it without --members and --non-members"
            )
        flags = np.full(self.count, member)
        arrays = {**self.arrays, "members": flags}
        if not audited:
            arrays["audited"] = np.zeros(self.count, dtype=bool)
        return replace(self, arrays=arrays)


def joined(parts: Sequence[Part]) -> Part:
    """Several parts one after another.

    Raises:
        DataError: they differ in kind, classes, arrays or shapes, or two hold the same rows.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if any("audited" in part.arrays for part in parts):
        parts = [_all_audited(part) for part in parts]
        first = parts[0]
    for part in parts[1:]:
        for what, theirs, ours in (
            ("answers are", part.kind, first.kind),
            ("classes are", ", ".join(part.classes), ", ".join(first.classes)),
            ("classes are named by", _namer(part), _namer(first)),
            ("arrays are", ", ".join(sorted(part.arrays)), ", ".join(sorted(first.arrays))),
        ):
            if theirs != ours:
                raise DataError(
                    plain(f"{part.name}: its {what} {theirs}, and those of {first.name} {ours}")
                )
    _check_different(parts)
    arrays = {
        name: np.concatenate(
            [np.asarray(part.arrays[name]) for part in _alike(parts, name)],
            axis=example_axis(name, np.ndim(first.arrays[name])),
        )
        for name in first.arrays
        if name != "noise_scale"
    }
    if "noise_scale" in first.arrays:
        arrays["noise_scale"] = first.arrays["noise_scale"]
    said = dict.fromkeys(line for part in parts for line in part.said)
    return replace(first, arrays=arrays, said=tuple(said))


def _namer(part: Part) -> str:
    if not part.classes:
        return ""
    return "columns" if part.table else "an array"


def _check_different(parts: Sequence[Part]) -> None:
    """Refuse rows that are given twice: a copy narrows every interval, and tells nobody apart."""
    for place, part in enumerate(parts):
        for other in parts[:place]:
            if all(
                np.array_equal(np.asarray(part.arrays[name]), np.asarray(other.arrays[name]))
                for name in ("labels", "logits")
            ):
                same = part.name == other.name
                how = "is given twice" if same else f"holds the same rows as {other.name}"
                raise DataError(plain(f"{part.name}: {how}: leave one of them out"))


def _all_audited(part: Part) -> Part:
    if "audited" in part.arrays:
        return part
    return replace(part, arrays={**part.arrays, "audited": np.ones(part.count, dtype=bool)})


def _alike(parts: Sequence[Part], name: str) -> Sequence[Part]:
    """The parts, whose arrays of that name fit together.

    Raises:
        DataError: they do not.
    """
    first = np.asarray(parts[0].arrays[name])
    axis = example_axis(name, first.ndim) % max(1, first.ndim)
    for part in parts[1:]:
        array = np.asarray(part.arrays[name])
        rest = [array.shape[:axis] + array.shape[axis + 1 :] for array in (first, array)]
        if array.ndim != first.ndim or rest[0] != rest[1]:
            raise DataError(
                f"{part.name}: {name} have shape {array.shape}, and those of {parts[0].name} "
                f"{first.shape}: they do not fit together"
            )
    return parts
