"""The loss threshold."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit_plugins.attacks._thresholds import best_threshold


class Loss(privaudit.Attack):
    """The lower the loss, the likelier a member."""

    paper: ClassVar[str] = "Yeom et al. 2018, Privacy risk in machine learning, section III"
    name: Literal["loss"] = "loss"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Minus the cross-entropy of each example, in float64.

        The decision's threshold is the one of best balanced accuracy over all shadows; without
        shadows there is no decision.
        """
        score = _minus_loss(signals.target.logits[0], signals.y)
        inside = signals.shadow_role == privaudit.Role.MEMBER  # (K, N)
        known = inside | (signals.shadow_role == privaudit.Role.NON_MEMBER)
        if not (bool(inside.any()) and bool((known & ~inside).any())):
            return privaudit.AttackScores(score)
        learnt = _minus_loss(
            signals.shadows.logits[:, 0][known], signals.y.expand_as(signals.shadow_role)[known]
        )
        return privaudit.AttackScores(score, score >= best_threshold(learnt, inside[known]))


def _minus_loss(logits: Tensor, y: Tensor) -> Tensor:
    return -cross_entropy(logits.double(), y, reduction="none")


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Loss]
