"""Finished units of training on disk, so that nothing is ever trained twice.

A unit is what one `fit` makes of one model, keyed by everything that determines it. A file holds
a BLAKE2b checksum and a safetensors image, nothing that could run code.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path

import safetensors.torch
import torch
from pydantic import BaseModel
from torch import Tensor

from privaudit.api.hooks import GROUP
from privaudit.api.source import source_digest
from privaudit.store.files import private_folder, write_many
from privaudit.version import __version__

logger = logging.getLogger(__name__)

_CHECKSUM = 32  # bytes
_FORMAT = 1  # raised when the engine would train differently from the same key


class Journal:
    """Units by key, in a folder that all runs share; None keeps nothing.

    Args:
        folder: made on first writing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a unit, or None where it is not there or damaged."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        content = path.read_bytes()
        body = content[_CHECKSUM:]
        if blake2b(body, digest_size=_CHECKSUM).digest() != content[:_CHECKSUM]:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            logger.warning("the cached unit %s is damaged: set aside as %s and redone", key, aside)
            return None
        return safetensors.torch.load(body)

    def keep(self, units: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write units, each whole or not at all."""
        if self._folder is None:
            return
        private_folder(self._folder)
        files = {}
        for key, tensors in units.items():
            body = safetensors.torch.save({n: t.contiguous().cpu() for n, t in tensors.items()})
            path = self._path(key)
            assert path is not None
            private_folder(path.parent)
            files[path] = blake2b(body, digest_size=_CHECKSUM).digest() + body
        write_many(files.items())

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / f"{key}.unit"


def digest(*parts: object) -> str:
    """A 64-digit key of tensors, plugins, options and plain values.

    Raises:
        TypeError: a part has no stable content.
    """
    state = blake2b(f"privaudit {__version__} units {_FORMAT}".encode(), digest_size=32)
    for part in parts:
        content = _content(part)
        state.update(len(content).to_bytes(8, "big"))
        state.update(content)
    return state.hexdigest()


@cache
def _source(cls: type) -> str:
    """What a plugin class is made of: its source, and the version of what distributes it."""
    versions = [
        entry_point.dist.version
        for entry_point in metadata.entry_points(group=GROUP)
        if entry_point.dist and entry_point.module == cls.__module__
    ]
    return f"{source_digest(cls)} {versions[0] if versions else ''}"


def _sources(part: object) -> set[str]:
    """Digests of the code of a plugin and of the plugins in its options."""
    if isinstance(part, BaseModel):
        return {_source(type(part))}.union(*(_sources(value) for _, value in part))
    if isinstance(part, Mapping):
        return set().union(*(_sources(value) for value in part.values()))
    if isinstance(part, list | tuple):
        return set().union(*(_sources(value) for value in part))
    return set()


def _content(part: object) -> bytes:
    if isinstance(part, Tensor):
        flat = part.detach().cpu().contiguous()
        head = f"{flat.dtype} {tuple(flat.shape)} ".encode()
        return head + flat.reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(part, BaseModel):
        options = part.model_dump(mode="json", serialize_as_any=True)
        return json.dumps([sorted(_sources(part)), options]).encode()
    if isinstance(part, Mapping):
        return digest(*[x for name in sorted(part) for x in (name, part[name])]).encode()
    if part is None or isinstance(part, str | int | float | bool | tuple | list):
        return json.dumps(part).encode()
    raise TypeError(f"{type(part).__name__} has no stable content")
