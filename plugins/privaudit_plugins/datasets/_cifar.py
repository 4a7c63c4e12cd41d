"""What CIFAR-10 and CIFAR-100 share: torchvision reads them, and downloads them where it can."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path
from tarfile import TarError
from typing import Any, Literal

import numpy as np
import torch

from privaudit import Augmentation, DataError, Examples

Triple = tuple[float, float, float]


def _parts(source: Any, root: Path) -> list[Any]:
    """The training and the test set, downloaded if they are not there yet."""
    try:
        # torchvision compares each file with its published checksum before it reads it
        return [source(root, train=train) for train in (True, False)]
    except RuntimeError:
        return [source(root, train=train, download=True) for train in (True, False)]


def load_cifar(
    kind: Literal["CIFAR10", "CIFAR100"], root: Path, mean: Triple, std: Triple
) -> Examples:
    """All 60,000 images (60000, 3, 32, 32), the training set first, then the test set.

    Args:
        kind: torchvision's name of the dataset.
        root: where the archive is, or is downloaded to.
        mean: of each channel, on a scale of 0 to 1.
        std: of each channel, on a scale of 0 to 1.

    Raises:
        DataError: the archive is not there and cannot be downloaded.
    """
    import torchvision  # slow to import: not before it is needed

    source = getattr(torchvision.datasets, kind)
    try:
        parts = _parts(source, root)
    except (OSError, RuntimeError, EOFError, HTTPException, TarError) as error:
        raise DataError(
            f"{kind.lower()}: {source.filename} is not in {root}, or not whole, and cannot be "
            f"downloaded ({error}): fetch {source.url} elsewhere and put it there"
        ) from error
    x = np.concatenate([part.data for part in parts])
    return Examples(
        x=torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(),
        y=torch.tensor([label for part in parts for label in part.targets]),
        classes=tuple(parts[0].classes),
        mean=255 * torch.tensor(mean).view(3, 1, 1),
        std=255 * torch.tensor(std).view(3, 1, 1),
        augmentation=Augmentation(flip=True, crop=4),
    )
