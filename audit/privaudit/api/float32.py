"""How products of float32 numbers are made: exactly, or with the ten bits of TF32.

On CUDA, torch makes convolutions in TF32 unless it is told otherwise. Since torch 2.9 a setting of
each operation decides. Older flags for all operations are still read by torch's own code, and by
networks, and reading one that says something else is an error: they are set beside, and first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_backends: Any = torch.backends
_cudnn, _cublas = _backends.cudnn, _backends.cuda.matmul
_PLACES: list[tuple[Any, str, Any, Any]]
_PLACES = [(owner, "allow_tf32", False, True) for owner in (_cudnn, _cublas)]
if hasattr(_cublas, "fp32_precision"):
    _operations = [_cublas, _cudnn.conv, _cudnn.rnn]
    _PLACES += [(owner, "fp32_precision", "ieee", "tf32") for owner in _operations]
    _PLACES += [(_backends.mkldnn.matmul, "fp32_precision", "ieee", "ieee")]
"""Whose setting, its name, its value for exact products, and that for products in TF32."""


def settings() -> list[Any]:
    """All that torch is told, as it is; None where it will not say."""
    return [_read(owner, name) for owner, name, *_ in _PLACES]


def set_settings(values: list[Any]) -> None:
    """Tell torch what `settings` gave."""
    for (owner, name, *_), value in zip(_PLACES, values, strict=True):
        if value is not None:
            setattr(owner, name, value)


@contextmanager
def float32_products(precision: str = "fp32") -> Iterator[None]:
    """Have CUDA make products of float32 numbers exactly, or in TF32; afterwards as before.

    Args:
        precision: as `Training.precision` has it; all but "tf32" are exact.
    """
    before = settings()
    set_settings([tf32 if precision == "tf32" else exact for *_, exact, tf32 in _PLACES])
    try:
        yield
    finally:
        set_settings(before)


def _read(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except RuntimeError:  # set by somebody to other than the settings beside
        return None
