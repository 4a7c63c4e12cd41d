"""Values for another process: plugins by name, tensors as plain bytes beside them."""

from __future__ import annotations

import io
import pickle
from typing import Any

import safetensors.torch
import torch
from torch import Tensor


def wrapped(value: object) -> tuple[bytes, bytes]:
    """What a process of ours may be sent: a description, and the tensors in it.

    Raises:
        Exception: a class in it cannot be found by its name, as one written inside a function.
    """
    tensors: dict[str, Tensor] = {}
    kept_alive: list[object] = []  # so that no two tensors have one id

    class Pickler(pickle.Pickler):
        def persistent_id(self, part: object) -> str | None:
            if type(part) is not Tensor:
                return None
            kept_alive.append(part)
            tensors[str(id(part))] = part.detach().clone(memory_format=torch.contiguous_format)
            return str(id(part))

    described = io.BytesIO()
    Pickler(described).dump(value)
    return described.getvalue(), safetensors.torch.save(tensors)


def unwrapped(described: bytes, body: bytes) -> Any:
    """The value that `wrapped` was given; only for what this program has sent itself."""
    tensors = safetensors.torch.load(body)

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, name: Any) -> Tensor:
            return tensors[name]

    return Unpickler(io.BytesIO(described)).load()
