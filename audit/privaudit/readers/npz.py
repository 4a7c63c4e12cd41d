"""NumPy archives (.npz), read without unpickling anything."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from privaudit.errors import DataError, PrivauditError
from privaudit.messages import plain
from privaudit.readers.budget import check
from privaudit.readers.door import opened, unreadable

Array = NDArray[Any]

_NUMBERS = "biuf"  # NumPy's kinds: bool, int, unsigned int, float
_TEXT = "U"
_ENCRYPTED = 1  # a bit of a zip member's flags
_LONGEST_HEADER = 10_000  # bytes; NumPy's own limit, which it checks when it has read them
_LABEL = 100  # bytes that a label takes as text


def read_npz(path: Path, choose: Callable[[list[str]], Iterable[str]]) -> dict[str, Array]:
    """Some arrays of an archive, by name.

    Args:
        path: the file.
        choose: from the names that the file holds to those to read; it raises a `DataError` where
            they are not as they should be.

    Raises:
        DataError: one line that begins with the path: there is no such file, it is damaged or no
            archive, or an array to be read holds Python objects.
    """
    with opened(path) as file:
        try:
            return _read(path, file, choose)
        except PrivauditError as error:
            raise DataError(plain(str(error))) from error
        except MemoryError as error:
            raise DataError(plain(f"{path}: does not fit into memory, or is damaged")) from error
        except OSError as error:
            raise unreadable(path, error) from error
        except Exception as error:  # NumPy and zipfile raise whatever they stumble over
            raise _unlike(path, "is damaged, or no archive") from error


def read_npy(path: Path) -> Array:
    """The array of a .npy file.

    Raises:
        DataError: as for `read_npz`.
    """
    with opened(path) as file:
        try:
            if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                raise _unlike(path, "is damaged, or no array")
            needed = _claimed(path, "", file, os.fstat(file.fileno()).st_size)
            check(path, 2 * needed, "to read and convert it")
            file.seek(0)
            array: Array = npy.read_array(file, allow_pickle=False)
            return array
        except PrivauditError as error:
            raise DataError(plain(str(error))) from error
        except OSError as error:
            raise unreadable(path, error) from error
        except Exception as error:  # NumPy raises whatever it stumbles over
            raise _unlike(path, "is damaged, or no array") from error


def _read(
    path: Path, file: BinaryIO, choose: Callable[[list[str]], Iterable[str]]
) -> dict[str, Array]:
    if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
        _claimed(path, "", file, os.fstat(file.fileno()).st_size)
        raise DataError(f"{path}: holds one array: make an archive with np.savez")
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        chosen = list(choose(list(members)))
        needed = 0
        for name in chosen:
            info = members[name]
            if info.flag_bits & _ENCRYPTED:
                raise DataError(f"{path}: {name} is encrypted: save it without a password")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _unlike(path, f"{name} is compressed in a way that NumPy does not use")
            with archive.open(info) as member:
                member.read(len(npy.MAGIC_PREFIX))
                needed += _claimed(path, name, member, info.file_size)
        check(path, 2 * needed, f"to read and convert {', '.join(chosen)}")  # the array and a copy
        return {name: _array(archive, members[name]) for name in chosen}


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        array: Array = npy.read_array(member, allow_pickle=False)
        return array


def _claimed(path: Path, name: str, member: IO[bytes], size: int) -> int:
    """The bytes of an array, as its header says before any of them is read.

    Args:
        path: the file, for messages.
        name: of the array, for messages.
        member: behind the six bytes that every array begins with.
        size: bytes of the member, inflated; zipfile gives no more.

    Raises:
        DataError: it holds Python objects, or says that it has more than the member.
        ValueError: it is no such header.
    """
    version = member.read(2)
    width = 2 if version == b"\x01\x00" else 4
    length = member.read(width)
    header_size = int.from_bytes(length, "little")
    if len(length) < width or header_size > _LONGEST_HEADER:
        raise _unlike(path, f"the header of {name or 'the array'} is damaged")
    header = io.BytesIO(length + member.read(header_size))
    read = npy.read_array_header_1_0 if width == 2 else npy.read_array_header_2_0
    shape, _, dtype = read(header, max_header_size=_LONGEST_HEADER)
    if dtype.hasobject:
        raise _unlike(path, "holds Python objects")
    needed = prod(shape) * max(1, dtype.itemsize)
    if min(shape, default=0) < 0 or needed > size:
        raise _unlike(
            path,
            f"{name or 'the array'} is damaged: it says it is {dtype} of shape {shape}, and there "
            f"are {max(0, size - 8 - width - header_size):,} bytes of it",
        )
    return needed


def _unlike(path: Path, what: str) -> DataError:
    return DataError(
        plain(f"{path}: {what}: make it with np.savez out of arrays of numbers or text")
    )


def read_examples(path: Path) -> tuple[Array, list[str]]:
    """The examples x (N, ...) of an archive and their N labels y as text.

    Floating x come as float32; whole numbers and bool as they are in the file. Other arrays are
    left unread.

    Raises:
        DataError: one line that begins with the path: as for `read_npz`; x or y is missing, or has
            the wrong shape or type; a row holds NaN or infinity.
    """
    arrays = read_npz(path, lambda names: _x_and_y(path, names))
    x, y = arrays["x"], arrays["y"]
    if x.ndim < 2 or x.dtype.kind not in _NUMBERS or 0 in x.shape[1:]:
        raise DataError(
            f"{path}: x must be numbers of shape (N, D), (N, T, D), (N, C, H, W) or another with "
            f"the examples on its first axis, got {x.dtype} of shape {x.shape}"
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in _NUMBERS + _TEXT:
        one_hot = y.ndim == 2 and len(y) == len(x) and y.shape[1] > 1
        raise DataError(
            f"{path}: y must hold one number or text for each of the {len(x)} rows of x, "
            f"got {y.dtype} of shape {y.shape}"
            + ("; of one-hot labels save y.argmax(1)" if one_hot else "")
        )
    check(path, _LABEL * len(y), f"y of {len(y):,} labels")
    if len(x) == 0:
        raise DataError(f"{path}: x and y have no rows")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
    wrong = _not_finite(x) | _not_finite(y)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: row {row} (from 0) holds NaN or infinity: fill it or drop it")
    try:
        return x, [str(label) for label in y.tolist()]
    except (SystemError, ValueError) as error:  # NumPy does not look whether text is characters
        raise _unlike(path, "y is damaged: it holds what is no character") from error


def _x_and_y(path: Path, names: list[str]) -> list[str]:
    for name in ("x", "y"):
        if name not in names:
            shown = (held if held.isprintable() else repr(held) for held in sorted(names))
            raise DataError(
                f"{path}: there is no array {name!r}; it holds {', '.join(shown) or 'nothing'}: "
                "save the examples as x and their labels as y"
            )
    return ["x", "y"]


def _not_finite(array: Array) -> NDArray[np.bool_]:
    """Which rows (N,) of (N, ...) hold NaN or infinity."""
    if array.dtype.kind != "f":
        return np.zeros(len(array), bool)
    finite: NDArray[np.bool_] = np.isfinite(array).reshape(len(array), -1)
    return np.logical_not(finite.all(axis=1))
