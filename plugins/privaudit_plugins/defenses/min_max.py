"""Adversarial regularisation: a network trained against the attack it will meet."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

import privaudit

_ANSWER = (1024, 512, 64)  # layers that see the answer,
_LABEL = (512, 64)  # the label,
_JOINT = (256, 64)  # and what both have found
_LEAST = 16  # units of a layer: where all of a narrower one had died, a network went undefended


class InferenceNetwork(nn.Module):
    """Guesses from an answer and a label whether the example was trained on.

    Args:
        classes: C.
        width: factor of the layers' sizes.
    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        answer, label, joint = (
            [max(_LEAST, round(width * size)) for size in sizes]
            for sizes in (_ANSWER, _LABEL, _JOINT)
        )
        self.answer = _layers(classes, *answer)
        self.label = _layers(classes, *label)
        self.joint = _layers(answer[-1] + label[-1], *joint)
        self.guess = nn.Linear(joint[-1], 1)

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """The log-odds of membership, (B,), from logits (B, C) and labels (B,)."""
        one_hot = y[:, None] == torch.arange(logits.shape[-1], device=y.device)
        found = [self.answer(logits.softmax(-1)), self.label(one_hot.to(logits.dtype))]
        guess: Tensor = self.guess(self.joint(torch.cat(found, -1)))
        return guess[:, 0]


class MinMax(privaudit.Defense):
    """Minimise the loss plus the largest gain of an attacker that trains at the same time.

    The attacker h sees the posterior p and the label y, and maximises
    (E_members log h + E_reference log(1 - h)) / 2, in `steps` steps of Adam before each step of
    the network, each on members and reference examples of its own, to which the network answers
    in evaluation mode. The network minimises E_members [CE + weight · log h], or, with
    `form: linear`, E_members [CE + weight · (h - 1/2)]. The latter pulls less where the attacker
    is sure that an example was not trained on: a weight of one form is none of the other.

    The attacker's layers have the published sizes. They start as PyTorch's linear layers do, not
    from a normal distribution of deviation 0.01 as published, which needs more steps than a small
    network's whole training to wake up. Its 0.9 million weights train beside every network: where
    that is most of the work, lower `width`. No layer has fewer than 16 units, all of which may die
    as rectifiers do: with 6, the attacker fell silent beside two of six networks on Location-30.
    """

    paper: ClassVar[str] = (
        "Nasr, Shokri & Houmansadr 2018, Machine learning with membership privacy using "
        "adversarial regularization, algorithm 1"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The attacker's layers start as PyTorch's do, not from a normal distribution of "
        "deviation 0.01, from which a small network's training is too short to move it.",
    )
    reference: ClassVar[bool] = True

    name: Literal["min_max"] = "min_max"
    weight: float = Field(1.0, ge=0, description="λ of the attacker's gain in the loss")
    steps: int = Field(1, ge=1, description="of the attacker for each step of the network")
    lr: float = Field(1e-3, gt=0, description="learning rate of the attacker")
    width: float = Field(
        1.0, gt=0, description="factor of the attacker's layer sizes, none of which falls below 16"
    )
    form: Literal["log", "linear"] = Field(
        "log",
        description="what the network pays: log, λ · mean log h, is the paper's; linear, λ · (mean "
        "h - 1/2), is the authors' code's, to which the published λ belong: 3 for Purchase, 6 for "
        "CIFAR, 10 for Texas",
        exclude_if=lambda form: form == "log",  # recipes of before have no such key
    )

    def companion(self, classes: int) -> nn.Module:
        """The attacker."""
        return InferenceNetwork(classes, self.width)

    def companion_schedule(self) -> tuple[int, float]:
        """Its steps for each step of the network, and their size."""
        return self.steps, self.lr

    def companion_loss(self, step: privaudit.Step) -> Tensor:
        """The attacker's negative gain."""
        assert step.reference_logits is not None
        assert step.reference_y is not None
        play = _player(step)
        inside = logsigmoid(play(step.logits, step.y)).mean()
        outside = logsigmoid(-play(step.reference_logits, step.reference_y)).mean()
        return -(inside + outside) / 2

    def loss(self, step: privaudit.Step) -> Tensor:
        """Cross-entropy and how sure the attacker is of the batch."""
        odds = _player(step)(step.logits, step.y)
        gain = logsigmoid(odds).mean() if self.form == "log" else odds.sigmoid().mean() - 0.5
        return cross_entropy(step.logits, step.y) + self.weight * gain


def _player(step: privaudit.Step) -> Callable[..., Tensor]:
    assert step.companion is not None
    return step.companion


def _layers(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*[m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())])


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [MinMax]
