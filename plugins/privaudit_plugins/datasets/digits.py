"""Handwritten digits, from scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
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
        from sklearn.datasets import load_digits  # slow to import: not before it is needed

        data = load_digits()
        return privaudit.Examples(
            x=torch.from_numpy(data.images).to(torch.uint8).unsqueeze(1),
            y=torch.from_numpy(data.target).to(torch.int64),
            classes=tuple(str(digit) for digit in data.target_names),
            mean=torch.tensor(8.0),
            std=torch.tensor(8.0),
            augmentation=privaudit.Augmentation(crop=self.crop) if self.crop else None,
        )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Digits]
