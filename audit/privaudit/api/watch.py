"""What is lent to plugins: copies, and whether somebody has written into them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from privaudit.answers import ORIGINAL
from privaudit.messages import plain
from privaudit.values import Examples, Outputs, Signals

MOST_COPIED = 2**28  # bytes of signals that each attack gets a copy of
_MOST_READ = 2**22  # bytes of a tensor that are read as a whole; of larger ones, a sample
Values = TypeVar("Values", Signals, Outputs)
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Seal:
    """Tensors as they are now, to see later whether they still are.

    A change is seen by torch's version counter, which views share with what they look at, and by
    a checksum, which sees what passes the counter by: `.data`, and numpy's view. Of tensors of
    more than 4 MiB the checksum is of numbers spread evenly over them.

    Args:
        tensors: by name; what is None is left out.
    """

    def __init__(self, tensors: Mapping[str, Tensor | None]) -> None:
        self._sealed = {
            name: (tensor, tensor._version, _checksum(tensor))
            for name, tensor in tensors.items()
            if tensor is not None
        }

    def broken(self) -> str:
        """The name of the first tensor that has changed; empty where none has."""
        for name, (tensor, version, content) in self._sealed.items():
            if tensor._version != version or _checksum(tensor) != content:
                return name
        return ""


def signal_tensors(signals: Signals) -> dict[str, Tensor]:
    """Every tensor of an attacker's signals, named as an author asks for it."""
    named = {}
    parts: list[tuple[str, Signals | Outputs | None]] = [("", signals)]
    for name, outputs in (("target.", signals.target), ("shadows.", signals.shadows)):
        parts.append((name, outputs))
        for key, version in outputs.versions.items() if outputs else ():
            parts.append((f"{name}{key if key == ORIGINAL else f'versions[{key!r}]'}.", version))
    for part, value in parts:
        for name, tensor in vars(value).items() if value else ():
            if isinstance(tensor, Tensor):
                named[part + name] = tensor
    return named


def copied_signals(signals: Signals) -> Signals | None:
    """Signals of an attack's own, or None where they are too large to be copied for each."""
    if signals_size(signals) > MOST_COPIED:
        return None
    return copied(signals)


def signals_size(signals: Signals) -> int:
    """Bytes of an attacker's signals."""
    return sum(t.numel() * t.element_size() for t in signal_tensors(signals).values())


def differing(ours: Mapping[str, Tensor], lent: Mapping[str, Tensor]) -> str:
    """The name of the first tensor whose copy has other bits; empty where none has."""
    for name, tensor in ours.items():
        if not torch.equal(_bits(tensor), _bits(lent[name])):
            return name
    return ""


def copied_examples(examples: Examples) -> Examples:
    """Examples that nobody else holds."""
    tensors = {n: getattr(examples, n).detach().clone() for n in ("x", "y", "mean", "std")}
    names = examples.names and tuple(plain(str(name)) for name in examples.names)
    return replace(examples, **tensors, names=names)


def copied(value: Values) -> Values:
    """Signals or outputs with tensors of their own."""
    changed: dict[str, Any] = {}
    for name, part in vars(value).items():
        if isinstance(part, Tensor):
            changed[name] = part.clone()
        elif isinstance(part, Outputs):
            changed[name] = copied(part)
        elif name == "versions":
            changed[name] = {key: copied(version) for key, version in part.items()}
    own: Any = value.changed if isinstance(value, Outputs) else partial(replace, value)
    return cast("Values", own(**changed))


def _bits(tensor: Tensor) -> Tensor:
    """A tensor's numbers as integers, so that NaN is like itself and -0 is not like 0."""
    if tensor.dtype == torch.bool:
        return tensor
    size = tensor.element_size()
    return tensor.detach().view(_BITS[size]) if size in _BITS else tensor.detach()


def _checksum(tensor: Tensor) -> int:
    flat = tensor.detach()
    if flat.numel() * flat.element_size() > _MOST_READ:
        places = torch.linspace(0, flat.numel() - 1, 2**16, dtype=torch.float64).long()
        flat = flat.flatten()[places.to(flat.device)] if flat.is_contiguous() else _corner(flat)
    return zlib.crc32(flat.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)


def _corner(tensor: Tensor) -> Tensor:
    """Evenly spread rows of a tensor that cannot be flattened without a copy."""
    step = max(1, len(tensor) * tensor[:1].numel() * tensor.element_size() // _MOST_READ)
    return tensor[::step]
