"""What the discriminators know of one example: class, prediction, sensitivity.

Source: Gonon et al. 2023, "Sparsity can improve privacy of neural networks", section 4,
"Discriminator training".
"""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit import Outputs, PrivauditError, Role, Signals


def sensitivity(outputs: Outputs, rows: Tensor) -> Tensor:
    """How fast one model's prediction p moves around each example, to first order.

    (1/ε) · mean over D draws of ‖p(x) − p(x + εN)‖₂, from `Outputs.noisy` (D, N, C).

    Args:
        outputs: of one model, without the M axis.
        rows: (n,) int64.

    Returns:
        (n,) float64.
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


def features(outputs: Outputs, y: Tensor, rows: Tensor, whose: str) -> Tensor:
    """One-hot class, prediction and sensitivity of some examples under one model.

    Args:
        outputs: of one model, without the M axis.
        y: (N,) int64 labels.
        rows: (n,) int64, among the examples whose noisy answers are known.
        whose: the model, for the error message.

    Returns:
        (n, 2C + 1) float64.

    Raises:
        PrivauditError: there are no noisy answers, or an answer is NaN or infinite.
    """
    logits = outputs.logits[0, rows].double()
    own_class = (y[rows, None] == torch.arange(logits.shape[-1])).double()
    moved = sensitivity(outputs, rows)[:, None]
    found = torch.cat([own_class, logits.softmax(-1), moved], dim=1)
    if not bool(torch.isfinite(found).all()):
        raise PrivauditError(
            f"{whose} answers NaN or infinity on examples that are audited, most likely because "
            "its training diverged: lower the learning rate"
        )
    return found


def target_features(signals: Signals) -> Tensor:
    """Features of the audited examples under the target, (n, 2C + 1) float64, in their order."""
    rows = signals.audited.nonzero()[:, 0]
    return features(signals.target, signals.y, rows, "the target")


def shadow_features(attack: str, signals: Signals) -> tuple[Tensor, Tensor]:
    """What a discriminator learns from: each shadow's members and non-members, pooled.

    Args:
        attack: its name, for the error message.
        signals: with K ≥ 1 shadows.

    Returns:
        Features (n, 2C + 1) float64, and membership (n,) bool.

    Raises:
        PrivauditError: the shadows lack members or non-members, or as for `features`.
    """
    inside, outside = (signals.shadow_role == role for role in (Role.MEMBER, Role.NON_MEMBER))
    if not (bool(inside.any()) and bool(outside.any())):
        raise PrivauditError(
            f"{attack} learns from the shadows' members and non-members, but there are "
            f"{int(inside.sum())} members and {int(outside.sum())} non-members of "
            f"{len(signals.shadow_role)} shadows: train a shadow, and give its pool both"
        )
    found, member = [], []
    for k in range(len(signals.shadow_role)):
        rows = (inside[k] | outside[k]).nonzero()[:, 0]
        found.append(features(signals.shadows[k], signals.y, rows, f"shadow {k}"))
        member.append(inside[k, rows])
    return torch.cat(found), torch.cat(member)


def spread(values: Tensor, signals: Signals) -> Tensor:
    """Scores (n,) of the audited examples laid out over all N; NaN where none was asked for."""
    score = torch.full(signals.audited.shape, torch.nan, dtype=torch.float64)
    score[signals.audited] = values.double()
    return score
