"""The threshold that an attacker chooses where membership is known to it."""

from __future__ import annotations

import numpy as np
from torch import Tensor

_BLOCK = 2**20  # scores looked at at once


def best_threshold(score: Tensor, member: Tensor) -> float:
    """The t whose rule "member if score ≥ t" has the best balanced accuracy.

    It lies midway between two neighbouring scores, and equal scores stay together. Of several
    best thresholds the highest is taken. Sorting dominates: O(n log n). Only a member's score can
    be the lowest that is accused: leaving out a non-member below all members is always better.

    Args:
        score: (n,) float64, higher = likelier a member.
        member: (n,) bool, with at least one of each.
    """
    inside, outside = (score[which].numpy() for which in (member, ~member))
    inside.sort()  # in place, both: millions of scores are not copied again
    outside.sort()
    most, place = -np.inf, 0
    for start in range(0, len(inside), _BLOCK):
        some = inside[start : start + _BLOCK]
        caught = (len(inside) - np.searchsorted(inside, some)) / len(inside)
        accused = (len(outside) - np.searchsorted(outside, some)) / len(outside)
        advantage = caught - accused
        last = len(some) - 1 - int(advantage[::-1].argmax())
        if advantage[last] >= most:
            most, place = advantage[last], start + last
    high = inside[place]
    low = max(
        (scores[below - 1] for scores in (inside, outside) if (below := scores.searchsorted(high))),
        default=-np.inf,
    )
    middle = float(low / 2 + high / 2)
    # Neighbouring floats have no middle, and neither has a gap down to minus infinity.
    return middle if middle > float(low) else float(high)
