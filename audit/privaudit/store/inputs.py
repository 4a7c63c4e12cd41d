"""What a network takes, kept beside its weights so that it can be built without its dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from privaudit.values import Examples

_DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "int64": torch.int64}
_KEY = "privaudit"  # one key: safetensors writes several in an order that varies


@dataclass(frozen=True)
class Inputs:
    """The kind of examples that a network was trained on.

    Attributes:
        shape: of one example.
        dtype: torch.uint8 or torch.float32; torch.int64 for tokens.
        classes: the C class names.
        mean: as in `Examples`.
        std: as in `Examples`.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, examples: Examples) -> Self:
        """Those of a dataset."""
        return cls(examples.shape, examples.x.dtype, examples.classes, examples.mean, examples.std)

    @property
    def tokens(self) -> bool:
        """Whether they are indices into a vocabulary, which are never normalised."""
        return self.dtype == torch.int64

    def record(self) -> dict[str, object]:
        """As JSON holds them."""
        return {
            "shape": list(self.shape),
            "dtype": str(self.dtype).removeprefix("torch."),
            "classes": list(self.classes),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    def metadata(self) -> dict[str, str]:
        """As a safetensors file holds them."""
        return packed({"inputs": self.record()})

    @classmethod
    def read(cls, metadata: Mapping[str, str] | None) -> Self | None:
        """Those of a safetensors file; None where it says nothing about them."""
        try:
            stored = json.loads((metadata or {})[_KEY])["inputs"]
            return cls(
                tuple(stored["shape"]),
                _DTYPES[stored["dtype"]],
                tuple(stored["classes"]),
                torch.tensor(stored["mean"]),
                torch.tensor(stored["std"]),
            )
        except (ValueError, KeyError, TypeError):
            return None


def packed(record: Mapping[str, object]) -> dict[str, str]:
    """Anything that JSON holds, as metadata of a safetensors file."""
    return {_KEY: json.dumps(record)}
