"""Compressed files, inflated once to be counted before anything is made of what they hold."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from privaudit.errors import DataError
from privaudit.messages import plain
from privaudit.readers.budget import allowed
from privaudit.readers.door import amount, opened, unreadable

_BLOCK = 1 << 20
_DICTIONARY = 1 << 28  # bytes that inflating .xz may take; `xz -9` asks for 2**26


@contextmanager
def decompressed(path: Path, line: int) -> Iterator[BinaryIO]:
    """A file's content, inflated where its name ends in .gz, .xz or .bz2.

    Args:
        path: the file.
        line: bytes of memory that each of its lines will take at least.

    Raises:
        DataError: it is no regular file, is damaged, or holds more than there is memory for; so,
            too, where it is read.
    """
    with opened(path) as file:
        try:
            if path.suffix.lower() in _INFLATE:
                _count(path, _inflated(path, file), line)
                file.seek(0)
            yield _inflated(path, file)
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(plain(f"{path}: cannot be read: it is damaged ({error})")) from error
        except OSError as error:
            raise unreadable(path, error) from error


def _inflated(path: Path, file: BinaryIO) -> BinaryIO:
    inflate = _INFLATE.get(path.suffix.lower())
    return inflate(file) if inflate else file


def _lzma(file: BinaryIO) -> BinaryIO:
    lzma.LZMADecompressor(memlimit=_DICTIONARY).decompress(file.read(64), max_length=1)
    file.seek(0)
    return cast(BinaryIO, lzma.LZMAFile(file))


_INFLATE: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    ".gz": lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file)),
    ".xz": _lzma,
    ".bz2": lambda file: cast(BinaryIO, bz2.BZ2File(file)),
}


def _count(path: Path, file: BinaryIO, line: int) -> None:
    """See that there is memory for what a file inflates to."""
    most, size, lines = allowed(), 0, 0
    while block := file.read(_BLOCK):
        size += len(block)
        lines += block.count(b"\n")
        if max(size, lines * line) > most:
            raise DataError(
                plain(
                    f"{path}: inflates to more than {amount(size)}, {lines:,} lines, for which "
                    f"there is no memory ({amount(most)} may be used): make it smaller, or give "
                    "more by --memory"
                )
            )
