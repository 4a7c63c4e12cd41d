"""Pair-based posterior balancing: every example of a batch answered with the same surety."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

import privaudit


class PairBasedPosteriorBalancing(privaudit.Defense):
    """While fine-tuning, draw the ranked posteriors of pairs of examples together.

    Each example's logits are sorted, so that only the shape of its posterior counts. The batch is
    cut in two halves, whose rows are paired in order, and KL(second ‖ first) is averaged over the
    pairs; both sides are moved. An odd batch's middle row has no partner and is left out.
    """

    paper: ClassVar[str] = (
        "Yuan & Zhang 2022, Membership inference attacks and defenses in neural network pruning"
    )
    during: ClassVar[str] = "tune"

    name: Literal["ppb"] = "ppb"
    weight: float = Field(4.0, ge=0, description="of the divergence, added to the cross-entropy")

    def loss(self, step: privaudit.Step) -> Tensor:
        """Cross-entropy and the weighted mean divergence; a batch of one has no pair."""
        pairs = len(step.y) // 2
        loss = cross_entropy(step.logits, step.y)
        if pairs == 0:
            return loss
        ranked = log_softmax(step.logits.sort(-1, descending=True).values, -1)
        first, second = ranked[:pairs], ranked[-pairs:]
        divergence = (second.exp() * (second - first)).sum(-1)  # (pairs,)
        return loss + self.weight * divergence.mean()


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [PairBasedPosteriorBalancing]
