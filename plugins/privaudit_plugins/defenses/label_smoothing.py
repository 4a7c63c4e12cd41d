"""Label smoothing: a little of every label goes to the other classes."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit


class LabelSmoothing(privaudit.Defense):
    """Train with (1 - smoothing) · y + smoothing / C in place of the one-hot label y.

    It teaches a network to generalise, not to hide whom it has seen: where training goes on until
    every member has the answer its smoothed label asks for, LiRA finds more members, not fewer.
    """

    paper: ClassVar[str] = (
        "Szegedy et al. 2016, Rethinking the Inception architecture for computer vision, section 7"
    )

    name: Literal["label_smoothing"] = "label_smoothing"
    smoothing: float = Field(0.1, gt=0, lt=1, description="share of a label that is spread evenly")

    def loss(self, step: privaudit.Step) -> Tensor:
        """Cross-entropy with the smoothed labels."""
        return cross_entropy(step.logits, step.y, label_smoothing=self.smoothing)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [LabelSmoothing]
