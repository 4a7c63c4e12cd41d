"""Anyone's own arrays: features, series, images or tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

import privaudit
from privaudit import DataError
from privaudit.readers.npz import Array, named_examples
from privaudit_plugins.datasets._classes import ClassName, classes_of
from privaudit_plugins.datasets._images import channel_statistics
from privaudit_plugins.datasets._labelled import existing_file, features_of
from privaudit_plugins.datasets._tables import mean_and_std

_CHANNELS = (1, 3, 4)  # grey, colours, colours with transparency


class Arrays(privaudit.Dataset):
    """Examples of any shape, from an .npz file with x (N, ...) and y (N), or other usual names.

    Labels may be one-hot.

    What x holds decides how it is normalised. With `holds: auto` it is taken for

    - images, if it has four axes (N, channels, height, width), or three (N, height, width) in
      uint8: each channel gets mean 0 and deviation 1;
    - tokens, if it has two axes (N, T) of whole numbers from 0 on, wider than uint8 and not all 0
      and 1: indices into a vocabulary, for networks with an embedding, and never normalised;
    - features in every other case, as tables (N, D) and series (N, T, D): what stands at one place
      of the last axis gets mean 0 and deviation 1.

    Statistics are of all rows, members and non-members alike, so that the numbers tell nothing
    about who is which.
    """

    name: Literal["arrays"] = "arrays"
    path: privaudit.FilePath = Field(
        description=".npz with x (N, ...), numbers, and y (N), numbers or text; or features and "
        "labels, data and target, x_train and y_train (with x_val, x_test and theirs), or "
        "train_images and train_labels"
    )
    classes: tuple[ClassName, ...] = Field(
        (),
        description="names of the classes in order, some of which may have no rows; every label "
        "there is, in natural order, if not given",
    )
    holds: Literal["auto", "features", "images", "tokens"] = Field(
        "auto", description="what x holds; auto goes by its shape and type"
    )
    standardize: bool = Field(
        True, description="give each feature, or channel, mean 0 and deviation 1 over all rows"
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not said is not written, as before it could be said."""
        data: dict[str, Any] = dump(self)
        return {key: value for key, value in data.items() if key != "classes" or value}

    def load(self, root: Path) -> privaudit.Examples:
        """Features (N, ..., D), images (N, channels, height, width) or tokens (N, ...).

        Raises:
            DataError: the file is missing or cannot be used; the message names file and row.
        """
        path = existing_file(self.path)
        raw, labels, names = named_examples(path)
        y, classes = classes_of(path, labels, names, self.classes)
        holds = _taken_for(raw) if self.holds == "auto" else self.holds
        if holds == "tokens":
            x, mean, std = _tokens(path, raw), torch.tensor(0.0), torch.tensor(1.0)
        elif holds == "images":
            x, mean, std = _images(path, raw, self.standardize)
        else:
            x, mean, std = features_of(raw, self.standardize)
        return privaudit.Examples(x=x, y=y, classes=classes, mean=mean, std=std, names=names)


def _taken_for(x: Array) -> Literal["features", "images", "tokens"]:
    """What auto takes x (N, ...) for."""
    if x.ndim == 4 or (x.ndim == 3 and x.dtype == np.uint8):
        return "images"
    whole = x.dtype.kind in "iu" and x.dtype != np.uint8
    if x.ndim == 2 and whole and x.min() >= 0 and x.max() > 1:
        return "tokens"
    return "features"


def _tokens(path: Path, x: Array) -> Tensor:
    """Indices into a vocabulary, (N, ...) int64."""
    if x.dtype.kind not in "iu":
        raise DataError(
            f"{path}: holds: tokens needs whole numbers, got x of {x.dtype}: save "
            "x.astype('int64'), or set holds: features"
        )
    tokens = x.astype(np.int64)
    wrong = (tokens < 0).reshape(len(x), -1).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        token = x[row][tokens[row] < 0][0]
        raise DataError(
            f"{path}: row {row} (from 0) holds {token}, and tokens are indices into a vocabulary, "
            "from 0 on: pad with an index of its own, or set holds: features"
        )
    return torch.from_numpy(np.ascontiguousarray(tokens))


def _images(path: Path, x: Array, standardize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, C, height, width), uint8 or float32, and the mean and deviation of channels."""
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4:
        raise DataError(
            f"{path}: holds: images needs x of shape (N, channels, height, width) or "
            f"(N, height, width), got {x.shape}: reshape it, or set holds: features"
        )
    if x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS:
        raise DataError(
            f"{path}: x of shape {x.shape} looks like images with their channels last: save "
            "np.moveaxis(x, -1, 1), or set holds: features"
        )
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
    images = torch.from_numpy(np.ascontiguousarray(x))
    if not standardize:
        return images, torch.tensor(0.0), torch.tensor(1.0)
    if x.dtype == np.uint8:
        return images, *channel_statistics(images)
    mean, std = mean_and_std(np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]))
    return images, mean.view(-1, 1, 1), std.view(-1, 1, 1)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Arrays]
