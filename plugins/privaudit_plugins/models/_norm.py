"""Normalisation after convolutions: BatchNorm, or GroupNorm where examples must not meet."""

from __future__ import annotations

from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]

ABOUT_NORM = (
    "batch: BatchNorm; group: GroupNorm, for defenses that work example by example, such as dp_sgd"
)
_GROUPS = 32  # the default of Wu & He 2018, Group normalization
_SMALLEST = 4  # channels in a group: a single one on a 1×1 image would always be 0


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """A normalisation of (B, channels, H, W) with a scale and a shift for each channel.

    GroupNorm has 32 groups as Wu & He 2018 have, or as many as divide the channels and hold four
    of them each. It has as many parameters as BatchNorm.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    counts = range(1, min(_GROUPS, channels // _SMALLEST) + 1)
    return nn.GroupNorm(max((n for n in counts if channels % n == 0), default=1), channels)
