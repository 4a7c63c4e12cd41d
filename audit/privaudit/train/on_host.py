"""Examples that stay in the host's memory because the device's is too small for them."""

from __future__ import annotations

import torch
from torch import Tensor


class OnHost:
    """A tensor on the host that is indexed as if it were on the device.

    What is chosen is gathered on the host into a pinned chunk and copied from there, so that the
    device gets the numbers that it would have gathered itself. Each choice waits for the device to
    say which rows it is about: slower than to have everything there, and possible.

    Args:
        tensor: on the host.
        device: where its parts are to go.
    """

    def __init__(self, tensor: Tensor, device: torch.device) -> None:
        self._tensor, self._device = tensor, device

    def __getitem__(self, index: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Of the rows that an index on the device chooses, as that of a tensor does."""
        chosen = index if isinstance(index, tuple) else (index,)
        part = self._tensor[tuple(i.cpu() for i in chosen)]
        if self._device.type == "cuda":
            part = part.pin_memory()
        return part.to(self._device, non_blocking=True)
