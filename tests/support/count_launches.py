"""Waits, uploads and launches of one step of a ResNet-20, as the pretend accelerator counts them.

They are differences between a fit of two steps and one of four, so that what comes before drops
out. One line of JSON for each way that takes the network, and for masked weights.
"""

from __future__ import annotations

import json
import os
import sys

import torch

from privaudit import Defense, Examples, Role, Sparsifier
from privaudit.cohort import Cohort
from privaudit.testing import pretend
from privaudit.train.ways import choose
from privaudit.training import Training
from privaudit.values import Augmentation
from privaudit_plugins.models.resnet20 import ResNet20

_BATCH = 4


def fitted(steps: int, way: str, masked: bool) -> pretend.Seen:
    """What one fit of so many steps does to the device."""
    for name in choose._SUITS:
        choose._SUITS[name] = lambda *_, mine=name == way: mine
    count, draw = steps * _BATCH, torch.Generator().manual_seed(0)
    scale = torch.full((3, 1, 1), 120.0)
    examples = Examples(
        x=torch.randint(0, 256, (count, 3, 8, 8), generator=draw, dtype=torch.uint8),
        y=torch.randint(0, 10, (count,), generator=draw),
        classes=tuple("0123456789"),
        mean=scale,
        std=scale,
        augmentation=Augmentation(flip=True, crop=4),
    )
    with pretend.watching() as seen:
        cohort = Cohort(
            examples, torch.full((1, count), Role.MEMBER, dtype=torch.uint8), torch.arange(1),
            model=ResNet20(), sparsifier=Sparsifier(name="n"), defense=Defense(name="n"),
            training=Training(epochs=1, batch_size=_BATCH, lr=0.03), device=pretend.device(),
        )  # fmt: skip
        if masked:
            cohort.prune(0.8)
        cohort.fit()
    return seen


def main() -> None:
    """Count, and print."""
    torch.set_num_threads(1)
    for way, masked in (("vmapped", False), ("vmapped", True), ("graph", False), ("plain", False)):
        few, more = fitted(2, way, masked), fitted(4, way, masked)
        line: dict[str, object] = {"way": way, "masked": masked}
        for name in ("waits", "uploads", "launches"):
            line[name] = (getattr(more, name).total() - getattr(few, name).total()) / 2
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
