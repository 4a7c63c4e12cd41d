"""CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import privaudit
from privaudit_plugins.datasets._cifar import load_cifar

# of the 50,000 training images, by channel, as the literature gives them (mean and deviation over
# all pixels)
_MEAN = (0.5071, 0.4865, 0.4409)
_STD = (0.2673, 0.2564, 0.2762)


class CIFAR100(privaudit.Dataset):
    """60,000 photographs of 32×32 pixels in 100 classes; downloaded where there is a network."""

    paper: ClassVar[str] = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    name: Literal["cifar100"] = "cifar100"

    def load(self, root: Path) -> privaudit.Examples:
        """Images (60000, 3, 32, 32), fine labels; training flips and shifts them by up to 4 pixels.

        Raises:
            DataError: the archive is not in root and cannot be downloaded.
        """
        return load_cifar("CIFAR100", root, _MEAN, _STD)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [CIFAR100]
