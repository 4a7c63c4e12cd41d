"""Decoded images, kept on disk so that they are decoded once."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

_log = logging.getLogger(__name__)


def _checksum(x: Tensor) -> str:
    digest = sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    digest.update(x.numpy().data)
    return digest.hexdigest()


def _read(path: Path, key: str) -> Tensor | None:
    """The array, or None where there is none for this key; a damaged one is named in a warning."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("key") != key:
                return None
            x: Tensor = file.get_tensor("x").clone()
    except (OSError, safetensors.SafetensorError) as error:
        _log.warning("%s is damaged (%s): decoding the images again", path, error)
        return None
    if _checksum(x) != about.get("checksum"):
        _log.warning("%s is damaged (its checksum differs): decoding the images again", path)
        return None
    return x


def _write(path: Path, x: Tensor, key: str) -> None:
    """Whole or not at all, whatever kills this process."""
    content = safetensors.torch.save({"x": x}, {"key": key, "checksum": _checksum(x)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def cached(path: Path, key: str, make: Callable[[], Tensor]) -> Tensor:
    """The array that `make` gives, from the file at path if that was written under the same key.

    A file under another key is out of date and is replaced; a damaged one is made again.

    Args:
        path: a .safetensors file; one that cannot be written is a warning only.
        key: a digest of all that the array depends on.
        make: called where there is no such array yet.
    """
    x = _read(path, key)
    if x is None:
        x = make()
        try:
            _write(path, x, key)
        except OSError as error:
            _log.warning("%s cannot be written (%s): images are decoded each time", path, error)
    return x
