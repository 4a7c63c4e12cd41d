"""The loss threshold."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch.nn.functional import cross_entropy

import privaudit


class Loss(privaudit.Attack):
    """The lower the loss, the likelier a member."""

    paper: ClassVar[str] = "Yeom et al. 2018, Privacy risk in machine learning, section III"
    name: Literal["loss"] = "loss"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Minus the cross-entropy of each example, in float64."""
        logits = signals.target.logits[0].double()  # (N, C), query 0
        return privaudit.AttackScores(-cross_entropy(logits, signals.y, reduction="none"))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Loss]
