"""What the discriminators know of one example: class, prediction, sensitivity.

Source: Gonon et al. 2023, "Sparsity can improve privacy of neural networks", section 4,
"Discriminator training".
"""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit import Outputs, Signals
from privaudit.statistics.sensitivity import first_order_sensitivity
from privaudit_plugins.attacks._pool import Measure, finite, needed, on_shadows, on_target


def target_features(signals: Signals) -> Tensor:
    """Features of the audited examples under the target, (n, 2C + 1) float64, in their order.

    Without noisy answers there is no sensitivity, and there are 2C features.

    Raises:
        PrivauditError: an answer is NaN or infinite.
    """
    return on_target(signals, _features(signals))


def shadow_features(attack: str, signals: Signals) -> tuple[Tensor, Tensor]:
    """What a discriminator learns from: each shadow's members and non-members, pooled.

    Args:
        attack: its name, for the error message.
        signals: with K ≥ 1 shadows.

    Returns:
        Features (n, 2C + 1) float64, and membership (n,) bool.

    Raises:
        PrivauditError: the shadows lack members or non-members, or as for `target_features`.
    """
    pool = needed(attack, signals, on_shadows(signals, _features(signals)))
    return pool.value, pool.member


def _features(signals: Signals) -> Measure:
    """One-hot class, prediction and sensitivity (n, 2C + 1) of some examples under one model."""
    asked = any(one.noisy is not None for one in (signals.target, signals.shadows))

    def measure(outputs: Outputs, rows: Tensor, whose: str) -> Tensor:
        logits = outputs.logits[0, rows].double()
        own_class = (signals.y[rows, None] == torch.arange(logits.shape[-1])).double()
        known = [own_class, logits.softmax(-1)]
        if asked:
            known.append(first_order_sensitivity(outputs, rows)[:, None])
        return finite(torch.cat(known, dim=1), whose)

    return measure
