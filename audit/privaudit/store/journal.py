"""Finished units of training on disk, so that nothing is ever trained twice.

A unit is what one `fit` makes of one model, or what one attack says about it, keyed by everything
that determines it. `unit_file` says what its file looks like, and what is believed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from privaudit.api.entry_points import brought_by
from privaudit.api.source import source_digest
from privaudit.errors import StoreError
from privaudit.store.aside import set_aside
from privaudit.store.files import private_folder, write_many
from privaudit.store.unit_file import (
    SUFFIX,
    DamagedUnitError,
    Schema,
    encoded,
    expected,
    read_unit,
)
from privaudit.version import __version__

logger = logging.getLogger(__name__)

_DAY = 24 * 3600  # seconds between two marks of a unit in use
_FORMAT = 1  # raised when the engine would train differently from the same key


class Journal:
    """Units by key, in a folder that all runs share; None keeps nothing.

    Args:
        folder: made on first writing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, key: str, schema: Schema) -> dict[str, Tensor] | None:
        """The tensors of a unit, or None where it is not there.

        What lies there and is not the unit, whole and as expected, is set aside and named in a
        warning. A unit in use is marked by the time of its file, for `store.cache.evict`.

        Raises:
            StoreError: what lies there can be neither used nor set aside.
        """
        path = self._path(key)
        # Path.is_dir raises where a folder may not be entered.
        if path is None or not os.path.isdir(path.parent):  # noqa: PTH112
            return None
        try:
            content, about = read_unit(path, most=schema.most)
            tensors, label = expected(content, key, schema)
        except FileNotFoundError:
            return None
        except DamagedUnitError as reason:
            aside = set_aside(path)
            logger.warning(
                "the cached unit %s is damaged (%s): set aside as %s and redone", key, reason, aside
            )
            return None
        if label is None:
            self._label_anew(key, schema, tensors)
        elif time.time() - about.st_mtime > _DAY:
            with suppress(OSError):  # somebody else's cache, say
                os.utime(path)
        return tensors

    def has(self, key: str) -> bool:
        """Whether something lies in a unit's place; only `find` says whether it is the unit."""
        path = self._path(key)
        return path is not None and os.path.lexists(path)

    def prepare(self, keys: Iterable[str]) -> None:
        """See that units can be written, before the work of making them is done.

        Raises:
            StoreError: they cannot.
        """
        for folder in sorted({path.parent for key in keys if (path := self._path(key))}):
            private_folder(folder.parent)
            if os.path.lexists(folder) and not folder.is_dir():
                aside = set_aside(folder)
                logger.warning("%s is no folder of units: set aside as %s", folder, aside)
            private_folder(folder)

    def keep(self, schema: str, units: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write units of one schema, each whole or not at all.

        Raises:
            StoreError: they cannot be written.
        """
        if self._folder is None:
            return
        self.prepare(units)
        files = {}
        for key, tensors in units.items():
            path = self._path(key)
            assert path is not None
            files[path] = encoded(key, schema, tensors)
        write_many(files.items())

    def drop(self, key: str) -> None:
        """Remove what lies in a unit's place; it is no loss where that cannot be done."""
        path = self._path(key)
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @property
    def keeps(self) -> bool:
        """Whether it has a folder."""
        return self._folder is not None

    def _label_anew(self, key: str, schema: Schema, tensors: Mapping[str, Tensor]) -> None:
        logger.info("the cached unit %s is of the first format: written anew with its key", key)
        try:
            self.keep(schema.name, {key: tensors})
        except StoreError as error:
            logger.info("the cached unit %s stays as it is: %s", key, error)

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / f"{key}{SUFFIX}"


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
    brought = brought_by(lambda module: module == cls.__module__)
    return f"{source_digest(cls)} {brought[1] if brought else ''}"


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
