"""CIFAR-10."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import privaudit
from privaudit_plugins.datasets._cifar import load_cifar

# of the 50,000 training images, by channel, as the literature gives them (mean and deviation over
# all pixels, not the mean of each image's deviation: 0.2023, 0.1994, 0.2010, also in circulation)
_MEAN = (0.4914, 0.4822, 0.4465)
_STD = (0.2470, 0.2435, 0.2616)


class CIFAR10(privaudit.Dataset):
    """60,000 photographs of 32×32 pixels in 10 classes; downloaded where there is a network."""

    paper: ClassVar[str] = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    name: Literal["cifar10"] = "cifar10"

    def load(self, root: Path) -> privaudit.Examples:
        """Images (60000, 3, 32, 32); training flips and shifts them by up to 4 pixels.

        Raises:
            DataError: the archive is not in root and cannot be downloaded.
        """
        return load_cifar("CIFAR10", root, _MEAN, _STD)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [CIFAR10]
