"""Handwritten digits as sequences: the rows of an image, one after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import privaudit
from privaudit_plugins.datasets.digits import Digits


class DigitsRows(privaudit.Dataset):
    """The 1,797 digits of `digits` as sequences of 8 steps of 8 numbers: row by row, from above.

    A step holds the grey pixels of a row from the left, as numbers 0 to 16, normalised to -1 to 1.
    """

    paper: ClassVar[str] = Digits.paper
    name: Literal["digits_rows"] = "digits_rows"

    def load(self, root: Path) -> privaudit.Examples:
        """Sequences (1797, 8, 8)."""
        images = Digits().load(root)
        return replace(images, x=images.x.flatten(1, 2))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [DigitsRows]
