"""NumPy archives (.npz), read without unpickling anything."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO

from numpy.lib import format as npy
from numpy.typing import NDArray

from privaudit.errors import DataError, PrivauditError
from privaudit.messages import plain
from privaudit.readers.budget import check
from privaudit.readers.door import opened, unreadable

Array = NDArray[Any]

_ENCRYPTED = 1  # a bit of a zip member's flags
_LONGEST_HEADER = 10_000  # bytes; NumPy's own limit, which it checks when it has read them


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
            raise unlike(path, "is damaged, or no archive") from error


def read_npy(path: Path) -> Array:
    """The array of a .npy file.

    Raises:
        DataError: as for `read_npz`.
    """
    with opened(path) as file:
        try:
            if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                raise unlike(path, "is damaged, or no array")
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
            raise unlike(path, "is damaged, or no array") from error


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
                raise unlike(path, f"{name} is compressed in a way that NumPy does not use")
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
        raise unlike(path, f"the header of {name or 'the array'} is damaged")
    header = io.BytesIO(length + member.read(header_size))
    read = npy.read_array_header_1_0 if width == 2 else npy.read_array_header_2_0
    shape, _, dtype = read(header, max_header_size=_LONGEST_HEADER)
    if dtype.hasobject:
        raise unlike(path, "holds Python objects")
    needed = prod(shape) * max(1, dtype.itemsize)
    if min(shape, default=0) < 0 or needed > size:
        raise unlike(
            path,
            f"{name or 'the array'} is damaged: it says it is {dtype} of shape {shape}, and there "
            f"are {max(0, size - 8 - width - header_size):,} bytes of it",
        )
    return needed


def unlike(path: Path, what: str) -> DataError:
    """What to raise where a file is no archive of numbers or text."""
    return DataError(
        plain(f"{path}: {what}: make it with np.savez out of arrays of numbers or text")
    )
