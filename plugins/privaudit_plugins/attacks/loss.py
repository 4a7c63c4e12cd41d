"""The loss threshold."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

import privaudit
from privaudit_plugins.attacks._pool import judged, odds_of


class Loss(privaudit.Attack):
    """The lower the loss, the likelier a member.

    The cross-entropy -log p_y of a sure network rounds to 0: in float64 from a log-odds of 36.7
    on. So the score is the log-odds log p_y - log(1 - p_y), which rises exactly as the loss falls
    and never rounds: the ROC curve is that of the loss, and where the loss is 0 there still is
    one.
    """

    paper: ClassVar[str] = "Yeom et al. 2018, Privacy risk in machine learning, section III"
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["loss"] = "loss"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The log-odds of the true class, in float64.

        The decision's threshold is the one of best balanced accuracy over all shadows; without
        shadows there is no decision.

        Raises:
            PrivauditError: a model answers NaN.
        """

        def measure(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            return odds_of(outputs, rows, signals.y, whose)

        return judged(signals, measure)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Loss]
