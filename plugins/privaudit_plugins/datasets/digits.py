"""Handwritten digits, from scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import privaudit


class Digits(privaudit.Dataset):
    """1,797 handwritten digits of 8×8 grey pixels, 10 classes; comes with scikit-learn."""

    paper: ClassVar[str] = "Alpaydin & Kaynak 1998, UCI machine learning repository; its test set"
    name: Literal["digits"] = "digits"
    crop: int = Field(
        0, ge=0, le=8, description="pixels by which training shifts an image at most; 0: never"
    )

    def load(self, root: Path) -> privaudit.Examples:
        """Images (1797, 1, 8, 8) with pixels 0 to 16, normalised to -1 to 1 whatever the data."""
        images, labels = _digits()
        return privaudit.Examples(
            x=torch.from_numpy(images).to(torch.uint8).view(-1, 1, 8, 8),
            y=torch.from_numpy(labels).to(torch.int64),
            classes=tuple(str(digit) for digit in range(10)),
            mean=torch.tensor(8.0),
            std=torch.tensor(8.0),
            augmentation=privaudit.Augmentation(crop=self.crop) if self.crop else None,
        )


def _digits() -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels (1797, 64) and labels (1797,).

    Read from scikit-learn's file, because importing scikit-learn takes longer than training a
    small network; where the file is elsewhere, scikit-learn is asked.
    """
    spec = find_spec("sklearn")  # which does not import it
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data, data.target


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Digits]
