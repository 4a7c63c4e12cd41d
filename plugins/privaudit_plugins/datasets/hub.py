"""Dataset repositories of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

import privaudit
from privaudit import DataError
from privaudit_plugins.datasets._hub import downloaded, listed, wanted
from privaudit_plugins.datasets._images import channel_statistics, decode_images, list_images
from privaudit_plugins.datasets._labelled import features_of
from privaudit_plugins.datasets._parquet import image_columns, images, labels, numbers, read_tables
from privaudit_plugins.datasets._tables import natural_order

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class Hub(privaudit.Dataset):
    """Parquet files, or folders of images, of a dataset repository on the Hugging Face Hub.

    The repository is read at one commit, and each file is checked by the checksum that the
    commit has for it; what was downloaded once is read without a network. Nothing in a
    repository is executed.

    Of Parquet files a column of images is taken where there is one, and otherwise all columns
    but the label as numbers. Names of classes are those of the schema, where it has them. Numbers
    and channels are standardised over all rows, members and non-members alike, so that they tell
    nothing about who is which. Splits, such as train and test, are merged.
    """

    name: Literal["hub"] = "hub"
    repository: str = Field(
        description="OWNER/NAME of the dataset repository", pattern=r"^\w[\w.-]*(/\w[\w.-]*)?$"
    )
    revision: str = Field(description="the commit, 40 hexadecimal digits")
    files: tuple[str, ...] = Field(
        (),
        description="patterns of the files to read, such as `data/train-*`; all of type .parquet, "
        "or else all images, if not given",
    )
    label_column: str = Field("label", description="of Parquet files")
    image_column: str | None = Field(
        None, description="of Parquet files; the only one that holds images, if not given"
    )
    columns: tuple[str, ...] = Field(
        (), description="numeric columns of Parquet files to use; all but the label if not given"
    )
    folder: str = Field(
        "",
        description="in the repository, that holds CLASS/IMAGE files, in train/ and test/ or not",
    )
    size: int | None = Field(
        None, ge=1, description="scale and centre-crop images to a square of so many pixels"
    )
    standardize: bool = Field(
        True, description="give each number, or channel, mean 0 and deviation 1 over all rows"
    )
    flip: bool = Field(False, description="training mirrors images left and right")
    crop: int = Field(0, ge=0, description="pixels by which training shifts an image at most")

    @field_validator("revision")
    @classmethod
    def _commit(cls, value: str) -> str:
        if len(value) == 40 and not set(value) - set("0123456789abcdef"):
            return value
        raise ValueError(
            f"must be a commit, 40 hexadecimal digits (got {value!r}): a branch changes, and with "
            "it who is a member; the repository's page shows the commit under Files, History"
        )

    def load(self, root: Path) -> privaudit.Examples:
        """Images (N, channels, height, width), or numbers (N, D), in the order of the files.

        Raises:
            DataError: the repository cannot be had or used; the message names file and row.
        """
        place = f"{self.repository}@{self.revision[:8]}"
        disk = root / "hub" / self.repository.replace("/", "--") / self.revision
        present = listed(self.repository, self.revision, disk)
        patterns = self.files or self._usual([file.path for file in present], place)
        chosen = wanted(present, patterns, place)
        paths = [downloaded(self.repository, self.revision, file, disk) for file in chosen]
        tables = [path for path in paths if path.suffix == ".parquet"]
        if len(tables) == len(paths):
            return self._of_tables(tables, place)
        if tables:
            raise DataError(f"{place}: holds tables and images: choose one kind by `files`")
        return self._of_folder(disk / self.folder, set(map(str, paths)), place)

    def _usual(self, present: list[str], place: str) -> tuple[str, ...]:
        """Patterns of what is read if nothing is said."""
        if not self.folder and any(path.endswith(".parquet") for path in present):
            return ("*.parquet",)
        start = f"{self.folder.strip('/')}/" if self.folder.strip("/") else ""
        kinds = {
            Path(path).suffix
            for path in present
            if path.startswith(start) and path.lower().endswith(_PICTURES)
        }
        if not kinds:
            raise DataError(
                f"{place}: holds neither .parquet files nor images"
                f"{f' in {self.folder}' if start else ''}; scripts are not run: the branch "
                "refs/convert/parquet of many repositories has a commit with .parquet files"
            )
        return tuple(f"{start}*{kind}" for kind in sorted(kinds))

    def _of_tables(self, paths: list[Path], place: str) -> privaudit.Examples:
        table = read_tables(paths)
        y, classes = labels(table, self.label_column, place)
        pictures = image_columns(table)
        if self.image_column is None and len(pictures) > 1 and not self.columns:
            raise DataError(
                f"{place}: columns {', '.join(pictures)} hold images: name one by `image_column`"
            )
        if self.image_column is not None and self.image_column not in pictures:
            held = ", ".join(pictures) or "none does"
            raise DataError(f"{place}: {self.image_column!r} holds no images: {held}")
        if pictures and not self.columns:
            name = self.image_column or pictures[0]
            return self._of_images(images(table, name, self.size, place), y, classes)
        names = self.columns or [n for n in table.column_names if n != self.label_column]
        if self.label_column in names or not names:
            raise DataError(f"{place}: `columns` must name columns other than the label")
        x, mean, std = features_of(numbers(table, names, place), self.standardize)
        return privaudit.Examples(x=x, y=y, classes=classes, mean=mean, std=std)

    def _of_folder(self, folder: Path, paths: set[str], place: str) -> privaudit.Examples:
        files = [file for file in list_images(folder) if file.path in paths]
        classes = natural_order({file.label for file in files})
        if len(classes) < 2:
            raise DataError(f"{place}: holds images of {len(classes)} classes: it needs 2 or more")
        x = decode_images([file.path for file in files], self.size)
        y = torch.tensor([classes.index(file.label) for file in files])
        return self._of_images(x, y, tuple(classes))

    def _of_images(self, x: Tensor, y: Tensor, classes: tuple[str, ...]) -> privaudit.Examples:
        mean, std = (
            channel_statistics(x) if self.standardize else (torch.tensor(0.0), torch.tensor(1.0))
        )
        augmentation = (
            privaudit.Augmentation(self.flip, self.crop) if self.flip or self.crop else None
        )
        return privaudit.Examples(
            x=x, y=y, classes=classes, mean=mean, std=std, augmentation=augmentation
        )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Hub]
