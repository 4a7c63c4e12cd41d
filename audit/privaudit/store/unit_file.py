"""One unit in one file: what it is, whose it is, and its tensors, under one checksum.

A file is a BLAKE2b checksum and the safetensors image that it is of, nothing that could run code.
The image's header says the unit's key, the name of its schema, the number of this format, and the
tensors' names, shapes and dtypes; so a file that lies in another unit's place is recognised.

The first format had neither key nor schema. Nothing tells that such a unit belongs where it lies.
It is believed where its tensors are, in name, shape and dtype, those that the caller expects, and
then written anew with its key: caches of years would be lost otherwise.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from privaudit.errors import StoreError
from privaudit.readers.regular import IrregularError, regular

SUFFIX = ".unit"
FORMAT = 2
_CHECKSUM = 32  # bytes
_METADATA = "privaudit"
_HEADER = 2**16 + 2**20  # bytes that names and shapes take at most, beside the tensors
_OUT_OF_REACH = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # says nothing about the file


class DamagedUnitError(Exception):
    """A unit cannot be believed; the message says why."""


@dataclass(frozen=True)
class Schema:
    """What a caller expects of a unit.

    Attributes:
        name: of the kind of unit.
        most: bytes that its tensors take at most.
        problem: says what is wrong with tensors; "" where nothing is.
        first_format: whether units that do not say what they are may be of this kind.
    """

    name: str
    most: int
    problem: Callable[[Mapping[str, Tensor]], str]
    first_format: bool = True


@dataclass(frozen=True)
class Label:
    """What a unit says about itself.

    Attributes:
        key: of the unit.
        schema: the name of its schema.
        format: the number of the file's format.
    """

    key: str
    schema: str
    format: int


def like(
    name: str, required: Mapping[str, Tensor], optional: Mapping[str, Tensor] | None = None
) -> Schema:
    """Tensors of the same names, shapes and dtypes as these.

    Args:
        name: of the schema.
        required: the tensors that every such unit has.
        optional: those that it has all of, or none.
    """
    every = {**required, **(optional or {})}

    def problem(tensors: Mapping[str, Tensor]) -> str:
        wanted = every if tensors.keys() & (optional or {}).keys() else required
        for tensor in sorted(wanted.keys() ^ tensors.keys()):
            return f"{tensor} is {'missing' if tensor in wanted else 'not of such a unit'}"
        for tensor, example in wanted.items():
            there = tensors[tensor]
            if (there.shape, there.dtype) != (example.shape, example.dtype):
                return (
                    f"{tensor} is {tuple(there.shape)} {there.dtype}, "
                    f"not {tuple(example.shape)} {example.dtype}"
                )
        return ""

    return Schema(name, sum(t.nbytes for t in every.values()), problem)


def encoded(key: str, schema: str, tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a unit's file."""
    label = json.dumps({"key": key, "schema": schema, "format": FORMAT})
    body = safetensors.torch.save(
        {n: t.contiguous().cpu() for n, t in tensors.items()}, {_METADATA: label}
    )
    return blake2b(body, digest_size=_CHECKSUM).digest() + body


def decoded(content: bytes) -> tuple[dict[str, Tensor], Label | None]:
    """The tensors in the content of a file, and what it says it is; None in the first format.

    Raises:
        DamagedUnitError: its checksum is wrong, or it is no image.
    """
    body = content[_CHECKSUM:]
    if blake2b(body, digest_size=_CHECKSUM).digest() != content[:_CHECKSUM]:
        raise DamagedUnitError("its checksum is wrong")
    try:
        return safetensors.torch.load(body), _label(body)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DamagedUnitError(f"it cannot be decoded: {error}") from error


def checked(content: bytes, key: str) -> tuple[dict[str, Tensor], Label | None]:
    """What `decoded` gives, where the unit is that of a key, as far as it says whose it is.

    Raises:
        DamagedUnitError: it is not.
    """
    tensors, label = decoded(content)
    if label is not None and label.format != FORMAT:
        raise DamagedUnitError(f"it has the unknown format {label.format}")
    if label is not None and label.key != key:
        raise DamagedUnitError(f"it holds another unit, {label.key}")
    return tensors, label


def expected(content: bytes, key: str, schema: Schema) -> tuple[dict[str, Tensor], Label | None]:
    """What `checked` gives, where the tensors are those that a caller expects.

    Raises:
        DamagedUnitError: they are not.
    """
    tensors, label = checked(content, key)
    if label is None and not schema.first_format:
        raise DamagedUnitError("it does not say what it is")
    if label is not None and label.schema != schema.name:
        raise DamagedUnitError(f"it holds {label.schema!r}, not {schema.name!r}")
    if problem := schema.problem(tensors):
        raise DamagedUnitError(problem)
    return tensors, label


def read_label(path: Path) -> Label | None:
    """What a file says it is, without a look at its tensors; None in the first format.

    Raises:
        DamagedUnitError: it cannot be read, or has no header.
        FileNotFoundError: it is not there.
    """
    start = read_unit(path, limit=_CHECKSUM + 8)[0]
    size = int.from_bytes(start[_CHECKSUM:], "little")
    if len(start) < _CHECKSUM + 8 or size > _HEADER:
        raise DamagedUnitError("it has no header")
    body = read_unit(path, limit=_CHECKSUM + 8 + size)[0][_CHECKSUM:]
    try:
        return _label(body)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedUnitError("it has no header") from error


def read_unit(
    path: Path, *, most: int | None = None, limit: int | None = None
) -> tuple[bytes, os.stat_result]:
    """A regular file's content; nothing else that may lie there is waited for.

    Args:
        path: of the file.
        most: bytes of tensors that a longer file cannot be about.
        limit: read no more bytes.

    Raises:
        DamagedUnitError: it cannot be read, is no regular file, or is too large.
        FileNotFoundError: nothing is there.
        StoreError: this process cannot open any file at present.
    """
    try:
        with regular(path) as file:
            about = os.fstat(file.fileno())
            if most is not None and about.st_size > most + _HEADER:
                raise DamagedUnitError(f"it has {about.st_size:,} bytes, more than it can need")
            return file.read(-1 if limit is None else limit), about
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedUnitError("it is a link to nothing") from None
        raise
    except IrregularError as error:
        raise DamagedUnitError(error.strerror) from error
    except OSError as error:
        if error.errno in _OUT_OF_REACH:
            raise StoreError(f"cannot read {path}: {error.strerror}; then run again") from error
        raise DamagedUnitError(f"it cannot be read: {error.strerror or error}") from error


def _label(body: bytes) -> Label | None:
    size = int.from_bytes(body[:8], "little")
    metadata = json.loads(body[8 : 8 + size]).get("__metadata__") or {}
    if _METADATA not in metadata:
        return None
    said = json.loads(metadata[_METADATA])
    key, schema, number = said["key"], said["schema"], said["format"]
    if not (isinstance(key, str) and isinstance(schema, str) and isinstance(number, int)):
        raise TypeError("a unit's label has a key, a schema and a format")
    return Label(key, schema, number)
