"""The loss of an example against what it is for networks that never saw it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit_plugins.attacks._pool import logits_of, spread
from privaudit_plugins.attacks._thresholds import best_threshold


class Reference(privaudit.Attack):
    """The further the loss lies below that of networks without the example, the likelier a member.

    An example that is easy for everyone has a low loss whether or not it was trained on: the
    shadows that did not have it say how easy it is.
    """

    paper: ClassVar[str] = (
        "Watson et al. 2022, On the importance of difficulty calibration in membership inference "
        "attacks; with a quantile in place of the mean, attack R of Ye et al. 2022"
    )
    shadows: ClassVar[int] = 1
    name: Literal["reference"] = "reference"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Mean loss over the shadows that neither trained nor tuned on it, minus the target's.

        The decision's threshold is the one of best balanced accuracy when each shadow in turn is
        scored against the others; with one shadow (of `halves`, two) there is no decision.

        Raises:
            PrivauditError: an audited example has no such shadow, or a model answers NaN.
        """
        inside = signals.shadow_role == privaudit.Role.MEMBER  # (K, N)
        non_member = signals.shadow_role == privaudit.Role.NON_MEMBER
        without = non_member | (signals.shadow_role == privaudit.Role.OUTSIDE)
        count, audited = without.sum(0), signals.audited
        if not bool((count[audited] > 0).all()):
            raise privaudit.PrivauditError(
                f"reference needs for each example a shadow that was not trained on it, and "
                f"{int((count[audited] == 0).sum())} of {int(audited.sum())} have none among "
                f"{len(without)} shadows: raise `shadows` (with split.protocol halves, 2 suffice)"
            )
        asked = audited | inside.any(0) | non_member.any(0)
        loss = torch.stack(
            [
                _losses(signals.shadows[k], signals.y, asked, f"shadow {k}")
                for k in range(len(without))
            ]
        )
        total = (loss * without).sum(0)
        score = total / count - _losses(signals.target, signals.y, audited, "the target")
        score = spread(score[audited], signals)

        rest = count - without.int()  # (K, N): the other shadows without the example
        known = (inside | non_member) & (rest > 0)
        learnt = (total - loss * without)[known] / rest[known] - loss[known]
        member = inside[known]
        if not 0 < int(member.sum()) < len(member):
            return privaudit.AttackScores(score)
        return privaudit.AttackScores(score, score >= best_threshold(learnt, member))


def _losses(outputs: privaudit.Outputs, y: Tensor, which: Tensor, whose: str) -> Tensor:
    """Cross-entropy of the rows `which` (N,) bool, (N,); 0 elsewhere."""
    rows = which.nonzero()[:, 0]
    loss = torch.zeros(len(y), dtype=torch.float64)
    loss[rows] = cross_entropy(logits_of(outputs, rows, whose), y[rows], reduction="none")
    return loss


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Reference]
