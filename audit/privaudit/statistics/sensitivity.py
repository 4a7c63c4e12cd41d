"""How fast a prediction moves around an example."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.errors import PrivauditError
from privaudit.values import Outputs


def first_order_sensitivity(outputs: Outputs, rows: Tensor) -> Tensor:
    """(1/ε) · mean over D draws of ‖p(x) − p(x + εN)‖₂, from `Outputs.noisy` (D, N, C).

    Gonon et al. 2023, "Sparsity can improve privacy of neural networks", section 4.

    Args:
        outputs: of one model, without the M axis.
        rows: (n,) int64.

    Returns:
        (n,) float64.

    Raises:
        PrivauditError: there are no noisy answers.
    """
    if outputs.noisy is None:
        raise PrivauditError(
            "the answers to noisy copies of the examples are missing, and the attack's features "
            "need them: give `Outputs.noisy`"
        )
    p = outputs.logits[0, rows].double().softmax(-1)
    moved = torch.zeros(len(rows), dtype=torch.float64)
    for noisy in outputs.noisy:  # draw by draw: float64 copies of all of them are gigabytes
        moved += (p - noisy[rows].double().softmax(-1)).norm(dim=-1)
    return moved / (len(outputs.noisy) * outputs.noise_scale)
