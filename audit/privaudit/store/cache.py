"""The cache as a whole: what lies in it, whether it is sound, and what to do without."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from privaudit.errors import StoreError
from privaudit.store.aside import ASIDE, set_aside
from privaudit.store.files import TEMPORARY
from privaudit.store.unit_file import (
    SUFFIX,
    DamagedUnitError,
    checked,
    read_label,
    read_unit,
)

_DAY = 24 * 3600  # seconds after which nobody is still writing a temporary file
FIRST_FORMAT = "of the first format"
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Kept:
    """A file of the cache, or what was set aside there.

    Attributes:
        path: where it lies.
        size: in bytes.
        used: when it was used last, in seconds since 1970, within a day.
    """

    path: Path
    size: int
    used: float


@dataclass(frozen=True)
class Contents:
    """What lies in a cache.

    Attributes:
        units: that runs may use.
        aside: what was set aside.
        temporary: what a run writes at present, or has left behind.
        data: bytes of decoded datasets.
    """

    units: tuple[Kept, ...]
    aside: tuple[Kept, ...]
    temporary: tuple[Kept, ...]
    data: int


def contents(cache: Path) -> Contents:
    """What lies in a cache; nothing where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    units, aside, temporary = [], [], []
    for entry in _entries(cache / "units"):
        kept = _kept(entry)
        if kept is None:
            continue
        if entry.name.startswith(TEMPORARY):
            temporary.append(kept)
        elif entry.name.endswith(ASIDE):
            aside.append(kept)
        elif entry.name.endswith(SUFFIX):
            units.append(kept)
    return Contents(tuple(units), tuple(aside), tuple(temporary), _size(cache / "data"))


def schema_of(unit: Kept) -> str:
    """The name of a unit's schema, as far as its header says one."""
    try:
        label = read_label(unit.path)
    except (DamagedUnitError, FileNotFoundError):
        return UNREADABLE
    return FIRST_FORMAT if label is None else label.schema


def verified(cache: Path) -> Iterator[tuple[Kept, str, Path | None]]:
    """Every unit, with what is wrong with it ("" if nothing) and what it was set aside as.

    Units of the first format do not say whose they are: of them the checksum alone is verified.

    Raises:
        StoreError: a damaged unit cannot be set aside.
    """
    for unit in contents(cache).units:
        try:
            checked(read_unit(unit.path)[0], unit.path.stem)
            if unit.path.parent.name != unit.path.stem[:2]:
                raise DamagedUnitError("it lies in another unit's folder")
        except FileNotFoundError:  # a run has set it aside, or somebody has evicted it
            continue
        except DamagedUnitError as reason:
            yield unit, str(reason), set_aside(unit.path)
        else:
            yield unit, "", None


def evicted(cache: Path, most: int, *, dry_run: bool = False) -> Iterator[Kept]:
    """Remove what no run needs, then units, the least recently used first.

    What was set aside goes, and temporary files older than a day: a run that writes keeps its
    own. A run that misses an evicted unit makes it again.

    Args:
        cache: its folder.
        most: bytes that units may take afterwards.
        dry_run: remove nothing.

    Yields:
        What is removed.

    Raises:
        StoreError: something cannot be removed.
    """
    inside = contents(cache)
    dead = [kept for kept in inside.temporary if time.time() - kept.used > _DAY]
    size = sum(unit.size for unit in inside.units)
    surplus = []
    for unit in sorted(inside.units, key=lambda unit: (unit.used, unit.path)):
        if size <= most:
            break
        surplus.append(unit)
        size -= unit.size
    for kept in (*inside.aside, *dead, *surplus):
        if not dry_run:
            _remove(kept.path)
        yield kept


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in the folders of units, and beside them."""
    try:
        beside = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror or error}") from error
    for path in beside:
        if path.is_symlink() or not path.is_dir() or path.name.endswith(ASIDE):
            yield path
            continue
        try:
            yield from sorted(path.iterdir())
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error


def _kept(path: Path) -> Kept | None:
    try:
        about = path.lstat()
    except OSError:
        return None
    size = _size(path) if path.is_dir() and not path.is_symlink() else about.st_size
    return Kept(path, size, about.st_mtime)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder and below it; links are not followed."""
    size = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                size += Path(where, name).lstat().st_size
    return size


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror or error}") from error
