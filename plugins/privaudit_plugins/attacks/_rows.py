"""Row by row: which shadows each audited example has, and who is left out for want of them.

Shadows that were drawn by coin leave some examples without a shadow that was, or was not, trained
on them. That is a matter of these examples and of nobody else: the others keep their scores. Only
the shadows' membership decides it, never the target's, so being left out tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import privaudit


@dataclass(frozen=True)
class RowShadows:
    """Who of K shadows was trained on each of n audited examples.

    Attributes:
        rows: (n,) int64: where the audited examples stand among all N, ascending.
        inside: (K, n) bool: the shadow's members.
        tested: (K, n) bool: its non-members.
        outside: (K, n) bool: who had no part in its training or tuning: its non-members, and
            those outside of its pools.
    """

    rows: Tensor
    inside: Tensor
    tested: Tensor
    outside: Tensor

    def having(self, *, inside: int = 0, outside: int = 0) -> Tensor:
        """(n,) bool: which examples have so many shadows on either side."""
        return (self.inside.sum(0) >= inside) & (self.outside.sum(0) >= outside)


def row_shadows(signals: privaudit.Signals) -> RowShadows:
    """The shadows of each audited example, from the roles that the attacker knows."""
    rows = signals.audited.nonzero()[:, 0]
    role = signals.shadow_role[:, rows]
    inside, tested = role == privaudit.Role.MEMBER, role == privaudit.Role.NON_MEMBER
    return RowShadows(rows, inside, tested, tested | (role == privaudit.Role.OUTSIDE))


def row_scores(
    signals: privaudit.Signals,
    score: Tensor,
    threshold: float | None,
    *,
    scorable: Tensor,
    lacks: str,
    offline: Tensor | None = None,
) -> privaudit.AttackScores:
    """The scores of the audited examples, with word of those that have none.

    Args:
        signals: of the attack.
        score: (n,) float64 of the audited examples in their order; ignored where not scorable.
        threshold: of the decision, a member from there on; None where there is no decision.
        scorable: (n,) bool.
        lacks: what the others lack, to be read after "lack".
        offline: (n,) bool: who is scored without shadows that were trained on it, where other
            examples have them.
    """
    score = spread(score.where(scorable, torch.nan), signals)
    return privaudit.AttackScores(
        score,
        None if threshold is None else score >= threshold,
        left_out=_over_all(~scorable, signals),
        lacks="" if bool(scorable.all()) else lacks,
        offline=None if offline is None else _over_all(offline & scorable, signals),
    )


def need_some(attack: str, scorable: Tensor, lacks: str) -> None:
    """Refuse to go on where no example can be scored.

    How many must be is the engine's rule; an attack only needs one to calculate with.

    Args:
        attack: its name.
        scorable: (n,) bool.
        lacks: what the others lack, to be read after "lack".

    Raises:
        ShortageError: none can be.
    """
    if not bool(scorable.any()):
        raise privaudit.ShortageError(
            f"{attack} can score no row: all {len(scorable)} lack {lacks}"
        )


def spread(values: Tensor, signals: privaudit.Signals) -> Tensor:
    """Scores (n,) of the audited examples laid out over all N; NaN where none was asked for."""
    score = torch.full(signals.audited.shape, torch.nan, dtype=torch.float64)
    score[signals.audited] = values.double()
    return score


def _over_all(which: Tensor, signals: privaudit.Signals) -> Tensor | None:
    """Flags (n,) of the audited examples laid out over all N; None where all are False."""
    if not bool(which.any()):
        return None
    flags = torch.zeros(signals.audited.shape, dtype=torch.bool)
    flags[signals.audited] = which
    return flags
