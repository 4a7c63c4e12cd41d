"""The norm of the loss's gradient, which only the network's owner can take."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

import privaudit
from privaudit_plugins.attacks._pool import finite, judged


class GradientNorm(privaudit.Attack):
    """White-box: the shorter the gradient of an example's loss, the likelier a member.

    Training stops moving the weights for an example once it is learnt. The gradient is that of
    the cross-entropy with regard to all weights, before any defense changes the answers.
    """

    paper: ClassVar[str] = (
        "Nasr et al. 2019, Comprehensive privacy analysis of deep learning; Rezaei & Liu 2021, "
        "On the difficulty of membership inference attacks"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The norm over all weights is compared with a threshold, where Nasr et al. train a "
        "network on the gradients of each layer.",
    )
    signals: ClassVar[frozenset[str]] = frozenset({"gradient_norm"})
    answers: ClassVar[tuple[str, ...]] = ()
    name: Literal["gradient_norm"] = "gradient_norm"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Minus the L2 norm of the gradient.

        The decision's threshold is the one of best balanced accuracy over all shadows; without
        shadows there is no decision.

        Raises:
            PrivauditError: there are no gradient norms, or one is NaN or infinite.
        """
        return judged(signals, _minus_norm)


def _minus_norm(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
    if outputs.gradient_norm is None:
        raise privaudit.PrivauditError(
            f"gradient_norm needs the norms of {whose}'s gradients, which logits alone do not "
            "tell: audit the network itself with `privaudit run`, or give `Outputs.gradient_norm`"
        )
    return -finite(outputs.gradient_norm[rows].double(), whose)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [GradientNorm]
