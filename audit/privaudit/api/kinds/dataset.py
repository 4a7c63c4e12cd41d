"""Datasets: real examples with labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from privaudit.api.kinds.base import Plugin
from privaudit.values import Examples


class Dataset(Plugin):
    """Real examples with labels."""

    kind: ClassVar[str] = "dataset"

    def load(self, root: Path) -> Examples:
        """Read the examples, in an order that never changes.

        Called once for all models, which share the examples: nobody changes them afterwards.

        What breaks: `Path.glob("*.png")` in the order of the file system, which makes other people
        members on another machine. Right is `sorted(folder.glob("*.png"))`.

        Args:
            root: the folder where downloads and decoded copies are kept.

        Raises:
            DataError: a file is missing, damaged, or holds what cannot be audited.
        """
        raise NotImplementedError
