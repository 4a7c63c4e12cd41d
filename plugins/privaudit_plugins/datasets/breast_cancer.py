"""Breast cancer records, from scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

import privaudit
from privaudit_plugins.datasets._tables import mean_and_std


class BreastCancer(privaudit.Dataset):
    """569 medical records of 30 measurements, malignant or benign; comes with scikit-learn.

    Each measurement is standardised by its mean and deviation over all 569 records, members and
    non-members alike, so that the numbers tell nothing about who is which.
    """

    paper: ClassVar[str] = (
        "Street et al. 1993, Nuclear feature extraction for breast tumor diagnosis"
    )
    name: Literal["breast_cancer"] = "breast_cancer"

    def load(self, root: Path) -> privaudit.Examples:
        """Features (569, 30)."""
        from sklearn.datasets import load_breast_cancer  # slow to import: not before it is needed

        data = load_breast_cancer()
        x = data.data.astype("float32")
        mean, std = mean_and_std(x)
        return privaudit.Examples(
            x=torch.from_numpy(x),
            y=torch.from_numpy(data.target).to(torch.int64),
            classes=tuple(str(name) for name in data.target_names),
            mean=mean,
            std=std,
        )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [BreastCancer]
