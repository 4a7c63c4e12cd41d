"""Tables of what is kept of all models' answers: in memory, or in files where they are large."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from privaudit.answers import DerivedTable, Kept, Outputs
from privaudit.jobs.lent import LentFolder
from privaudit.reductions import reduction

MOST_HELD = 2**28  # bytes of a level's tables from which they lie in files
_SPARE = 2**30  # bytes of a disk that stay free


@dataclass(frozen=True)
class MemoryTable:
    """A table (M, Q, N, ...) in memory."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, Q, N, ...)."""
        return tuple(self.values.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.values.numel() * self.values.element_size()

    def read(self, model: int, rows: Tensor | None = None) -> Tensor:
        """Those of one model, (Q, N, ...), or of some rows (n,) int64, to look at."""
        return self.values[model] if rows is None else self.values[model].index_select(1, rows)

    def write(self, model: int, query: int, start: int, values: Tensor) -> None:
        """What one model answers to one query of the examples from `start` on, (n, ...)."""
        self.values[model, query, start : start + len(values)] = values


@dataclass(frozen=True)
class FileTable:
    """A table (M, Q, N, ...) in a file, read model by model: nothing of it stays in memory.

    Attributes:
        path: of the file.
        shape: (M, Q, N, ...).
        dtype: of the numbers.
        owner: removes the file with the last table that has it; None in other processes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    owner: object = field(default=None, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Of memory it takes none."""
        return 0

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"owner": None}

    def read(self, model: int, rows: Tensor | None = None) -> Tensor:
        """Those of one model, (Q, N, ...), or of some rows (n,) int64."""
        count = prod(self.shape[1:])
        values = np.fromfile(
            self.path, self._numpy, count, offset=model * count * self.dtype.itemsize
        )
        every = torch.from_numpy(values).view(self.shape[1:])
        return every if rows is None else every.index_select(1, rows)

    def write(self, model: int, query: int, start: int, values: Tensor) -> None:
        """What one model answers to one query of the examples from `start` on, (n, ...)."""
        row = prod(self.shape[3:]) * self.dtype.itemsize
        offset = ((model * self.shape[1] + query) * self.shape[2] + start) * row
        with self.path.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), values.to(self.dtype).contiguous().numpy().data, offset)

    @property
    def _numpy(self) -> np.dtype[np.generic]:
        return np.dtype(str(self.dtype).removeprefix("torch."))


Table = MemoryTable | FileTable


@dataclass(frozen=True)
class JoinedTable:
    """The tables of several cohorts, one after another."""

    parts: Sequence[Kept]

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, Q, N, ...)."""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(part.nbytes for part in self.parts)

    def read(self, model: int, rows: Tensor | None = None) -> Tensor:
        """Those of one model, (Q, N, ...), or of some rows (n,) int64, to look at."""
        for part in self.parts:
            if model < part.shape[0]:
                return part.read(model, rows)
            model -= part.shape[0]
        raise IndexError(model)


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several cohorts, one after another; reduced, where those of one are."""

    def cat(name: str) -> Tensor | None:
        present = [t for part in parts if (t := vars(part).get(name)) is not None]
        return torch.cat(present) if len(present) == len(parts) else None

    reduced = [part for part in parts if not part.has_logits]
    names = reduced[0].kept if reduced else ()
    versions = [name for name in parts[0].versions if all(name in p.versions for p in parts)]
    return parts[0].changed(
        logits=cat("logits"),
        noisy=cat("noisy"),
        gradient_norm=cat("gradient_norm"),
        extremes=torch.cat([_extremes(part) for part in parts]) if reduced else None,
        kept={name: JoinedTable([_table(part, name) for part in parts]) for name in names},
        chosen=None,
        versions={n: joined_outputs([part.versions[n] for part in parts]) for n in versions},
    )


def _extremes(outputs: Outputs) -> Tensor:
    if outputs.extremes is not None:
        return outputs.extremes
    return torch.stack([torch.stack(one.aminmax()) for one in outputs.logits]).double()


def _table(outputs: Outputs, name: str) -> Kept:
    """The table of one kind, of the models alone that are chosen."""
    if outputs.has_logits:
        assert outputs.labels is not None  # whoever asked knows them
        return DerivedTable(name, outputs.logits, outputs.labels)
    if outputs.chosen is None:
        return outputs.kept[name]
    return MemoryTable(outputs.of(name))


class _Folder:
    """A folder that is gone when nobody holds it any more."""

    def __init__(self) -> None:
        lent = LentFolder()
        self.path = lent.path
        weakref.finalize(self, lent.close)


def new_tables(kinds: Mapping[str, int], models: int, examples: int) -> dict[str, Table]:
    """Empty tables, in memory, or in files where they are large and a disk has room for them.

    Args:
        kinds: names of reductions, and how many queries of each are kept.
        models: M.
        examples: N.
    """
    found: dict[str, Table] = {}
    size = models * examples * bytes_kept(kinds)
    folder = None
    if size > MOST_HELD and shutil.disk_usage(tempfile.gettempdir()).free > size + _SPARE:
        folder = _Folder()
    for name, queries in kinds.items():
        kind = reduction(name)
        assert kind is not None  # `needed_answers` has looked
        shape = (models, queries, examples, *kind.last)
        if folder is None:
            found[name] = MemoryTable(torch.zeros(shape, dtype=kind.dtype))
        else:
            path = folder.path / name
            path.touch(0o600)
            os.truncate(path, prod(shape) * kind.dtype.itemsize)
            found[name] = FileTable(path, shape, kind.dtype, folder)
    return found


def bytes_kept(kinds: Mapping[str, int]) -> int:
    """Bytes that reductions, each of so many queries, take for one example of one model."""
    sizes = {name: kind.size for name in kinds if (kind := reduction(name)) is not None}
    return sum(size * kinds[name] for name, size in sizes.items())
