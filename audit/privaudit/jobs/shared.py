"""Tensors in files that several processes map into memory, so that none is sent or copied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedTensors:
    """Tensors by name, in files for as long as their folder is there.

    Attributes:
        folder: theirs alone.
        kinds: name, shape and type of each.
    """

    folder: Path
    kinds: tuple[tuple[str, tuple[int, ...], torch.dtype], ...]

    def load(self) -> dict[str, Tensor]:
        """The tensors, mapped into memory: a process that writes to them changes its own only."""
        return {name: self._one(name, shape, dtype) for name, shape, dtype in self.kinds}

    def _one(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = prod(shape)
        if not size:  # an empty file cannot be mapped
            return torch.empty(shape, dtype=dtype)
        path = str(self.folder / name)
        return torch.from_file(path, shared=False, size=size, dtype=dtype).view(shape)


def share_tensors(tensors: Mapping[str, Tensor], folder: Path) -> SharedTensors:
    """Write tensors for other processes into an empty folder.

    Raises:
        OSError: there is no room for them.
    """
    for name, tensor in tensors.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(folder / name, flags, 0o600), "wb") as file:
            tensor.contiguous().cpu().numpy().tofile(file)
    return SharedTensors(folder, tuple((n, tuple(t.shape), t.dtype) for n, t in tensors.items()))
