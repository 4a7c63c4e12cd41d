"""The contract of datasets."""

from __future__ import annotations

from pathlib import Path

from privaudit.api.calls import loaded
from privaudit.api.plugin import Dataset
from privaudit.keys import seeded
from privaudit.testing.require import require, same


def check_dataset(dataset: Dataset, root: Path) -> None:
    """Load the examples twice; `Examples` itself refuses what cannot be audited.

    Args:
        dataset: what to load.
        root: an empty folder for downloads and decoded copies.

    Raises:
        DataError: its files are not there.
    """
    who = type(dataset).__name__
    first = loaded(dataset, root)
    for name in ("mean", "std"):
        shape = tuple(getattr(first, name).shape)
        fits = len(shape) <= len(first.shape) and all(
            mine in (1, theirs)
            for mine, theirs in zip(reversed(shape), reversed(first.shape), strict=False)
        )
        require(fits, f"{who}: {name} {shape} does not broadcast to an example {first.shape}")
    require(bool((first.std > 0).all()), f"{who}: std must be positive, or x turns into infinity")
    with seeded(1):  # elsewhere than the global generators were the first time
        again = loaded(dataset, root)
    require(
        same(first, again),
        f"{who}.load gives other examples, or another order, the second time: "
        "sort what it reads and seed what it draws",
    )
