"""Folders of images: which files there are, and their pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from privaudit import DataError
from privaudit.readers.budget import check
from privaudit.readers.door import kind, opened, plain, unreadable

_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}
_LEFT_BEHIND = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin",
}  # fmt: skip
"""What systems leave in folders of pictures, by name; what begins with a dot is left out, too."""

_CHUNK = 256  # files a thread decodes at a time
_COPIES = 12  # bytes a pixel while an image is decoded, converted and turned
_ORIENTATION = 0x0112  # EXIF's tag
_TURNS = dict(
    zip(
        range(2, 9),
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        strict=True,
    )
)
_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits, which it would clip, not scale


@dataclass(frozen=True)
class ImageFile:
    """One image on disk.

    Attributes:
        path: where it is.
        label: its class: the name of its folder.
        place: its path within the dataset's folder, with / on every system.
        state: bytes and time of change, to notice a file that was replaced.
    """

    path: str
    label: str
    place: str
    state: tuple[int, int]


def _visible(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:  # pathlib takes five times as long for 60,000 files
        return sorted((entry for entry in entries if _is_meant(entry.name)), key=lambda e: e.name)


def _is_meant(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LEFT_BEHIND


def _class_folders(folder: Path) -> dict[str, os.DirEntry[str]]:
    """The class folders, by their place in the dataset's folder."""
    inside = {entry.name: entry for entry in _visible(folder) if entry.is_dir()}
    if inside.keys() <= _PARTS:
        return {
            f"{part}/{entry.name}": entry
            for part in inside
            for entry in _visible(folder / part)
            if entry.is_dir()
        }
    return inside


def merged_parts(files: Sequence[ImageFile]) -> list[str]:
    """The parts of a dataset, such as train and test, that images come from; empty: one folder."""
    return sorted({f.place.split("/")[0] for f in files if f.place.count("/") > 1})


def _images(place: str, class_folder: os.DirEntry[str]) -> Iterator[ImageFile]:
    for entry in _visible(class_folder.path):
        if entry.is_dir():
            raise DataError(
                f"{entry.path} is a folder within a class: put images straight into CLASS folders, "
                "which may stand in train/, val/ and test/ only"
            )
        about = entry.stat()
        state = (about.st_size, about.st_mtime_ns)
        yield ImageFile(entry.path, class_folder.name, f"{place}/{entry.name}", state)


def list_images(folder: Path, classes: Sequence[str] = ()) -> list[ImageFile]:
    """The images of a folder, of CLASS/IMAGE files or of train/, val/ and test/ with such files.

    They are sorted by path, so that their order does not depend on the file system.
    Hidden files are left out, and so are those that systems leave behind (Thumbs.db, desktop.ini
    and their like), and files that stand beside the class folders.

    Args:
        folder: that holds them.
        classes: names of all classes, of which some may have no images; if not given, each folder
            is one, and has some.

    Raises:
        DataError: the folder has no or one class, a class has no images, or a folder is none of
            `classes`.
    """
    if kind(folder) != "folder":
        raise DataError(f"{folder}: is no folder; it should hold CLASS/IMAGE files")
    try:
        folders = _class_folders(folder)
        by_place = {place: list(_images(place, entry)) for place, entry in folders.items()}
    except OSError as error:
        raise unreadable(error.filename, error) from error
    names = sorted({entry.name for entry in folders.values()})
    if classes:
        _check_listed(folder, names, classes)
    elif len(names) < 2:
        found = f"one class folder only, {names[0]!r}" if names else "no class folders"
        raise DataError(f"{folder} holds {found}: it needs at least 2, each with its images")
    for place, images in by_place.items():
        if not images and not classes:
            raise DataError(
                f"{folder / place}: a class folder without images: fill or remove it, or list all "
                "classes in `classes`"
            )
    if not any(by_place.values()):
        raise DataError(f"{folder}: its class folders hold no images")
    return sorted(chain.from_iterable(by_place.values()), key=attrgetter("place"))


def _check_listed(folder: Path, names: Sequence[str], classes: Sequence[str]) -> None:
    if len(set(classes)) < max(2, len(classes)):
        raise DataError(f"{folder}: `classes` needs 2 names at least, and none of them twice")
    for name in names:
        if name not in classes:
            raise DataError(
                f"{folder}: holds the folder {name!r}, which is none of `classes`: add it there, "
                "or take it away"
            )


def _pixels(path: Path, size: int | None) -> NDArray[np.uint8]:
    with opened(path) as file:
        return pixels_of(file, path, size)


def pixels_of(file: BinaryIO, path: str | Path, size: int | None) -> NDArray[np.uint8]:
    """One image (channels, height, width): 1 channel if it is greyscale, else 3.

    Args:
        file: its bytes.
        path: where they come from, for messages.
        size: scale and centre-crop to a square of so many pixels; None leaves it as it is.

    Raises:
        DataError: it is no image, too large, or too deep.
    """
    try:
        with Image.open(file) as image:
            pixels = image.width * image.height
            check(path, _COPIES * pixels, f"an image of {image.width}×{image.height} pixels")
            if image.mode.startswith(_DEEP):
                raise DataError(
                    f"{path}: holds more than 8 bits a pixel (mode {image.mode}): convert it to 8"
                )
            upright = _upright(image.convert("L" if image.mode in ("1", "L") else "RGB"), image)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(plain(f"{path}: does not fit into memory, or is damaged")) from error
    except UnidentifiedImageError as error:  # it would name our handle on the file
        raise DataError(plain(f"{path}: not an image that Pillow can read")) from error
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        message = f"{path}: not an image that Pillow can read ({error})"
        raise DataError(plain(message)) from error
    if size is not None:
        upright = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    values = np.asarray(upright)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _upright(pixels: Image.Image, image: Image.Image) -> Image.Image:
    """The pixels turned as the image says, once decoded, that a camera was held (EXIF 2.32, 4.6.5).

    Pillow turns TIFF itself, which then says it no more.
    """
    turn = None
    with suppress(Exception):  # damage to what a camera noted is none to the pixels
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    return pixels if turn is None else pixels.transpose(turn)


def decode_images(files: Sequence[str], size: int | None) -> Tensor:
    """The pixels (N, channels, height, width) uint8: 1 channel if all are greyscale, else 3.

    Args:
        files: the N images.
        size: scale and centre-crop to a square of so many pixels; None leaves them as they are.

    Raises:
        DataError: a file is not an image, or sizes differ and `size` is None.
    """
    first = _pixels(Path(files[0]), size).shape[1:]
    check(
        Path(files[0]).parent.parent,
        6 * len(files) * first[0] * first[1],  # three channels, and a copy
        f"{len(files):,} images of {first[1]}×{first[0]} pixels",
    )
    x = np.empty((len(files), 3, *first), np.uint8)
    coloured = np.zeros(len(files), bool)

    def decode(start: int) -> None:
        for row, path in enumerate(files[start : start + _CHUNK], start):
            pixels = _pixels(Path(path), size)
            if pixels.shape[1:] != first:
                raise DataError(
                    f"images differ in size: {files[0]} is {first[1]}×{first[0]} and {path} is "
                    f"{pixels.shape[2]}×{pixels.shape[1]}; give `size` to make them all alike"
                )
            x[row] = pixels  # a grey image fills all three channels
            coloured[row] = len(pixels) == 3

    with ThreadPoolExecutor() as pool:  # threads: Pillow decodes without Python's lock
        for _ in pool.map(decode, range(0, len(files), _CHUNK)):
            pass
    return torch.from_numpy(x if coloured.any() else np.ascontiguousarray(x[:, :1]))


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (channels, 1, 1) of images (N, channels, height, width).

    Counted by pixel value, so exact and the same whatever the number of threads.
    A constant channel has deviation 1.
    """
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in x.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)  # (channels, 256)
    mean = share @ values
    std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
    std = torch.where((counts > 0).sum(1) == 1, 1.0, std)
    return mean.float().view(-1, 1, 1), std.float().view(-1, 1, 1)
