"""RelaxLoss: train to a level of the loss instead of to zero."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit_plugins.defenses._labels import soft_cross_entropy, soft_labels


class RelaxLoss(privaudit.Defense):
    """Keep the training loss at a level that unseen examples reach too.

    With the batch's cross-entropy ℓ and the level α, even epochs minimise |ℓ - α|: a step down
    the gradient of ℓ above the level, a step up below it, since ∇|ℓ - α| = sign(ℓ - α) ∇ℓ. Odd
    epochs minimise ℓ above the level; below it they flatten the posterior, as the authors' code
    does: the mean of (1 - right) · CE(p, t) - CE(p, y), where t holds p_y, at most `upper`, on the
    true class and spreads the rest evenly over the others. On tables it is the mean of CE(p, t).
    t moves with p and is differentiated, too.
    """

    paper: ClassVar[str] = (
        "Chen, Yu & Fritz 2022, RelaxLoss: defending membership inference attacks without losing "
        "utility, algorithm 1"
    )

    name: Literal["relaxloss"] = "relaxloss"
    alpha: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="level of the training loss; the authors': CIFAR-10 1.0 for ResNet-20 and 0.4 "
        "for VGG-11, CIFAR-100 3 and 0.5, Purchase 0.8, Texas 2.5",
    )
    upper: float = Field(
        1.0,
        gt=0,
        le=1,
        description="largest confidence that a flattened posterior is given; the authors': images "
        "1, Purchase 0.3, Texas 0.1",
    )
    flattening: Literal["image", "table"] = Field(
        "image", description="which of the authors' two rules: that for images or that for tables"
    )

    def loss(self, step: privaudit.Step) -> Tensor:
        """The branch that epoch and level choose."""
        each = cross_entropy(step.logits, step.y, reduction="none")  # (B,)
        mean = each.mean()
        odd = torch.where(mean > self.alpha, mean, self._flattening(step, each))
        return torch.where(step.epoch % 2 == 0, (mean - self.alpha).abs(), odd)

    def _flattening(self, step: privaudit.Step, each: Tensor) -> Tensor:
        confidence = (-each).exp().clamp(max=self.upper)  # (B,)
        labels = soft_labels(step.y, confidence, step.logits.shape[-1])
        soft = soft_cross_entropy(step.logits, labels)
        if self.flattening == "table":
            return soft.mean()
        wrong = step.logits.argmax(-1) != step.y
        return (wrong * soft - each).mean()


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RelaxLoss]
