"""Decoded images, kept on disk so that they are decoded once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import safetensors.torch
from torch import Tensor

from privaudit import StoreError
from privaudit.readers.tensors import Unreadable, tensor_file
from privaudit.store.files import private_folder, write_whole

_log = logging.getLogger(__name__)


def _checksum(x: Tensor) -> str:
    digest = sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    digest.update(x.numpy().data)
    return digest.hexdigest()


def _read(path: Path, key: str) -> Tensor | None:
    """The array, or None where there is none for this key; a damaged one is named in a warning."""
    try:
        with tensor_file(path) as file:
            about = file.metadata() or {}
            if about.get("key") != key:
                return None
            x: Tensor = file.get_tensor("x").clone()
    except FileNotFoundError:
        return None
    except Unreadable as error:
        _log.warning("%s is damaged (%s): decoding the images again", path, error)
        return None
    if _checksum(x) != about.get("checksum"):
        _log.warning("%s is damaged (its checksum differs): decoding the images again", path)
        return None
    return x


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
        content = safetensors.torch.save({"x": x}, {"key": key, "checksum": _checksum(x)})
        try:
            private_folder(path.parent)
            write_whole(path, content)
        except StoreError as error:
            _log.warning("the decoded images are not kept: %s", error)
    return x
