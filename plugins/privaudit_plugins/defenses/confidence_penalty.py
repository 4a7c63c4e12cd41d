"""Confidence penalty: reward answers of high entropy."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit_plugins.defenses._labels import entropy


class ConfidencePenalty(privaudit.Defense):
    """Minimise the cross-entropy less the weighted entropy of the answers.

    Like label smoothing it gives members a confidence of their own, which LiRA recognises: with
    a large weight and long training they are easier to find than without.
    """

    paper: ClassVar[str] = (
        "Pereyra et al. 2017, Regularizing neural networks by penalizing confident output "
        "distributions"
    )

    name: Literal["confidence_penalty"] = "confidence_penalty"
    weight: float = Field(0.1, ge=0, description="of the mean entropy, taken from the loss")

    def loss(self, step: privaudit.Step) -> Tensor:
        """CE - weight · H(p), both means over the batch."""
        return cross_entropy(step.logits, step.y) - self.weight * entropy(step.logits).mean()


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ConfidencePenalty]
