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
    true class, spreads the rest evenly over the others and is a constant to the gradient.
    """

    paper: ClassVar[str] = (
        "Chen, Yu & Fritz 2022, RelaxLoss: defending membership inference attacks without losing "
        "utility, algorithm 1"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The target of flattening is a constant to the gradient, as targets are, where the "
        "authors' code differentiates it.",
        "Tables are flattened as images are, where the authors' code has another rule for "
        "them, the cross-entropy with the target alone.",
    )

    name: Literal["relaxloss"] = "relaxloss"
    alpha: float = Field(
        1.0, gt=0, description="level of the training loss; the authors' 1.0 is for CIFAR-10"
    )
    upper: float = Field(
        1.0, gt=0, le=1, description="largest confidence that a flattened posterior is given"
    )

    def loss(self, step: privaudit.Step) -> Tensor:
        """The branch that epoch and level choose."""
        each = cross_entropy(step.logits, step.y, reduction="none")  # (B,)
        mean = each.mean()
        odd = torch.where(mean > self.alpha, mean, self._flattening(step, each))
        return torch.where(step.epoch % 2 == 0, (mean - self.alpha).abs(), odd)

    def _flattening(self, step: privaudit.Step, each: Tensor) -> Tensor:
        confidence = (-each.detach()).exp().clamp(max=self.upper)  # (B,)
        labels = soft_labels(step.y, confidence, step.logits.shape[-1])
        wrong = step.logits.argmax(-1) != step.y
        return (wrong * soft_cross_entropy(step.logits, labels) - each).mean()


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RelaxLoss]
