"""NumPy archives (.npz), for datasets: their arrays, or examples with labels."""

from __future__ import annotations

from pathlib import Path

from privaudit.readers.archive import Array as Array
from privaudit.readers.archive import read_npz as read_npz
from privaudit.readers.examples import named_examples as named_examples


def read_examples(path: Path) -> tuple[Array, list[str]]:
    """The examples x (N, ...) of an archive and their N labels as text.

    Raises:
        DataError: as `named_examples`, which gives the names of the examples, too.
    """
    x, labels, _ = named_examples(path)
    return x, labels
