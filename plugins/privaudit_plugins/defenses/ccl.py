"""Convex-concave loss: members' losses are left as scattered as those of others."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit


class ConvexConcaveLoss(privaudit.Defense):
    """Train with β · (α · CE - (1 - α) · exp(p_y)), the convex-concave exponential loss.

    Cross-entropy is convex in the probability p_y of the label, and training by it draws the
    losses of members together. The second term is concave in p_y and scatters them again. Both
    fall as p_y grows, so the label is learnt all the same.

    The gradient has α + (1 - α) · p_y · exp(p_y) times the size of cross-entropy's, so 0.5 to
    1.9 times at α = 0.5: β, or the learning rate, makes up for it.
    """

    paper: ClassVar[str] = (
        "Liu et al. 2024, Mitigating privacy risk in membership inference by convex-concave loss; "
        "the exponential of its two concave terms"
    )

    name: Literal["ccl"] = "ccl"
    alpha: float = Field(
        0.5, ge=0, le=1, description="share of the cross-entropy; 1 is cross-entropy alone"
    )
    beta: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="of the whole loss, as a learning rate's factor; 0.05 in the authors' example",
    )

    def loss(self, step: privaudit.Step) -> Tensor:
        """The mean over the batch."""
        each = cross_entropy(step.logits, step.y, reduction="none")  # (B,)
        concave = (-each).exp().exp()  # of p_y = exp(-CE)
        return self.beta * (self.alpha * each - (1 - self.alpha) * concave).mean()


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ConvexConcaveLoss]
