"""Anyone's own images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

import privaudit
from privaudit_plugins.datasets._cache import cached
from privaudit_plugins.datasets._classes import ClassName, check_names
from privaudit_plugins.datasets._images import (
    ImageFile,
    channel_statistics,
    decode_images,
    list_images,
    merged_parts,
)
from privaudit_plugins.datasets._labelled import existing
from privaudit_plugins.datasets._tables import natural_order

_log = logging.getLogger(__name__)


def _digest(parts: Sequence[object]) -> str:
    return sha256(repr(parts).encode()).hexdigest()


def _and(parts: Sequence[str]) -> str:
    folders = [f"{part}/" for part in parts]
    return " and ".join([", ".join(folders[:-1]), folders[-1]])


class ImageFolder(privaudit.Dataset):
    """Images in one folder for each class, in any format that Pillow reads.

    Channels are standardised by their mean and deviation over all images, members and
    non-members alike, so that the numbers tell nothing about who is which.
    Images are RGB, or of one channel where all files are greyscale; they are turned as the
    camera noted (EXIF orientation), and of a moving image the first frame is taken.
    """

    name: Literal["image_folder"] = "image_folder"
    path: privaudit.FilePath = Field(
        description="folder of CLASS/IMAGE files; where it holds train/, val/ and test/ with such "
        "files, they are merged"
    )
    classes: tuple[ClassName, ...] = Field(
        (),
        description="names of the classes in order, some of which may have no images; every "
        "folder, in natural order, if not given",
    )
    size: int | None = Field(
        None, ge=1, description="scale and centre-crop to a square of so many pixels"
    )
    limit: int | None = Field(
        None, ge=2, description="use at most so many images, as many of each class"
    )
    flip: bool = Field(True, description="training mirrors images left and right")
    crop: int = Field(4, ge=0, description="pixels by which training shifts an image at most")

    def load(self, root: Path) -> privaudit.Examples:
        """Images (N, channels, height, width) sorted by path, decoded once and kept in root.

        Raises:
            DataError: the folder or an image cannot be used.
        """
        folder = existing(self.path, "folder")
        files = list_images(folder, self.classes)
        classes = list(self.classes) or natural_order({file.label for file in files})
        if not self.classes:
            check_names(folder, classes)
        if len(parts := merged_parts(files)) > 1:
            _log.warning(
                "%s: %s are taken together: name one of them in path to take it alone",
                folder,
                _and(parts),
            )
        files = self._chosen(files, classes)

        def decode() -> torch.Tensor:
            _log.info("decoding %d images of %s", len(files), folder)
            return decode_images([file.path for file in files], self.size)

        name = _digest([str(folder), self.size, self.limit])[:16]
        # "upright": what was kept before images were turned as they say is decoded again
        key = _digest(["upright", *((file.place, file.state) for file in files)])
        x = cached(root / f"image_folder-{name}.safetensors", key, decode)
        mean, std = channel_statistics(x)
        return privaudit.Examples(
            x=x,
            y=torch.tensor([classes.index(file.label) for file in files]),
            classes=tuple(classes),
            mean=mean,
            std=std,
            augmentation=privaudit.Augmentation(self.flip, self.crop),
            names=tuple(file.place for file in files),
        )

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not said is not written, as before it could be said."""
        data: dict[str, Any] = dump(self)
        return {key: value for key, value in data.items() if key != "classes" or value}

    def _chosen(self, files: list[ImageFile], classes: list[str]) -> list[ImageFile]:
        """At most `limit` files: of each class equally many, evenly spaced in its sorted list."""
        if self.limit is None or self.limit >= len(files):
            return files
        share = self.limit // len(classes)
        if share == 0:
            raise privaudit.DataError(
                f"limit {self.limit} leaves nothing of some of the {len(classes)} classes in "
                f"{self.path}: it must be at least {len(classes)}"
            )
        chosen: list[ImageFile] = []
        for label in classes:
            own = [file for file in files if file.label == label]
            count = min(share, len(own))
            chosen += [own[number * len(own) // count] for number in range(count)]
        return sorted(chosen, key=lambda file: file.place)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ImageFolder]
