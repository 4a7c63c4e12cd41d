"""Every shadow as the target in turn, attacked by the others: how an attacker learns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from privaudit_plugins.attacks._thresholds import best_threshold

_ENOUGH = 2**18  # scores to choose a threshold from; more would not move it


def turns(shadows: int, examples: int) -> int:
    """How many shadows take a turn as the target."""
    return min(shadows, max(1, _ENOUGH // max(1, examples)))


def others(inside: Tensor, outside: Tensor, count: int) -> Tensor:
    """Which shadows serve when each of the first `count` is the target.

    All but itself and its complement, which the split keeps from the target, too: with the
    complement among the shadows, a member would have fewer in-shadows than a non-member.

    Args:
        inside: (K, n) bool: members of each shadow.
        outside: (K, n) bool: its non-members.
        count: T.

    Returns:
        (T, K) bool.
    """
    number: dict[bytes, int] = {}

    def numbered(first: Tensor, second: Tensor) -> Tensor:
        rows = (row.numpy().tobytes() for row in torch.cat([first, second], dim=1))
        return torch.tensor([number.setdefault(row, len(number)) for row in rows])

    own, opposite = numbered(inside, outside), numbered(outside, inside)
    itself = torch.eye(len(inside), dtype=torch.bool)[:count]
    return (own[:count, None] != opposite) & ~itself


def attacked_in_turn(
    attack: Callable[[Tensor, Tensor], Tensor], phi: Tensor, inside: Tensor, outside: Tensor
) -> tuple[Tensor, float | None]:
    """The target's scores (n,), and the best threshold for shadows attacked in the same way.

    Args:
        attack: from φ (T, Q, n) of T targets, and which shadows serve for each (T, K) bool, to
            their scores (T, n).
        phi: (1 + K, Q, n): the target's φ, then the shadows'.
        inside: (K, n) bool: members of each shadow.
        outside: (K, n) bool: its non-members.
    """
    everyone = torch.ones((1, len(phi) - 1), dtype=torch.bool)
    score = attack(phi[:1], everyone)[0]
    count = turns(len(phi) - 1, phi.shape[-1])
    learnt = attack(phi[1 : 1 + count], others(inside, outside, count))
    return score, threshold_in_turn(learnt, inside, outside)


def threshold_in_turn(score: Tensor, inside: Tensor, outside: Tensor) -> float | None:
    """The best threshold for the scores of shadows that were the target in turn.

    Args:
        score: (T, n) float64; NaN where the other shadows were too few.
        inside: (K, n) bool, T ≤ K: members of each shadow.
        outside: (K, n) bool: its non-members.

    Returns:
        None where no member, or no non-member, has a score.
    """
    inside, outside = inside[: len(score)], outside[: len(score)]
    scored = (inside | outside) & ~score.isnan()
    member = inside[scored]
    if bool(member.all()) or not bool(member.any()):
        return None
    return best_threshold(score[scored], member)
