"""The threshold that an attacker chooses where membership is known to it."""

from __future__ import annotations

import torch
from torch import Tensor


def best_threshold(score: Tensor, member: Tensor) -> float:
    """The t whose rule "member if score ≥ t" has the best balanced accuracy.

    It lies midway between two neighbouring scores, and equal scores stay together. Of several
    best thresholds the highest is taken. Sorting dominates: O(n log n).

    Args:
        score: (n,) float64, higher = likelier a member.
        member: (n,) bool, with at least one of each.
    """
    high, order = score.sort(descending=True, stable=True)
    inside = member[order].double()
    caught = inside.cumsum(0) / inside.sum()
    accused = (1 - inside).cumsum(0) / (1 - inside).sum()
    low = torch.cat([high[1:], high.new_tensor([-torch.inf])])
    advantage = caught - accused
    advantage[:-1][low[:-1] == high[:-1]] = -torch.inf  # equal scores are not cut apart
    best = int((advantage == advantage.max()).nonzero()[0])
    middle = float(low[best] / 2 + high[best] / 2)
    # Neighbouring floats have no middle, and neither has a gap down to minus infinity.
    return middle if middle > float(low[best]) else float(high[best])
