"""What precision a device trains in."""

from __future__ import annotations

import torch

from privaudit.training import Training


def resolved(training: Training, device: torch.device) -> Training:
    """The options with the precision that `auto` means on a device."""
    if training.precision != "auto":
        return training
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return training.model_copy(update={"precision": "bf16" if mixed else "fp32"})
