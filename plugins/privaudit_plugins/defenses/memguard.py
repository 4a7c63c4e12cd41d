"""Answers that leave a membership classifier undecided."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

import privaudit
from privaudit.keys import fold, uniform
from privaudit_plugins.defenses._disguise import disguised


class MemberClassifier(nn.Module):
    """A perceptron 256-128-64 that guesses membership from sorted scores."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for below, above in pairwise((classes, 256, 128, 64)):
            layers += [nn.Linear(below, above), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(64, 1))

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,) logits, positive for members, from logits (N, C); labels play no part."""
        scores = logits.softmax(-1).sort(-1, descending=True).values
        guess: Tensor = self.layers(scores)[:, 0]
        return guess


class MemGuard(privaudit.Defense):
    """Answer with scores that an attacker's classifier cannot tell members by; labels stay.

    The network learns from cross-entropy alone and is the one it would be without the defense.
    Once it is trained, the defender trains a classifier of its own on what it answers to its
    members and to reference examples, in evaluation and without augmentation, as an attacker is
    answered. Every answer then gets the noise that makes this classifier undecided. The estimate of
    `--dry-run` leaves out both.

    The search for noise moves an answer by at most `iterations` / 10 logits: less than published
    is faster, and leaves the surest answers alone.

    Answers are logarithms of the shown scores. Noise is added or not by a coin that is drawn from
    the answer itself: asking again shows nothing new, which the paper calls one-time randomness.
    """

    paper: ClassVar[str] = (
        "Jia et al. 2019, MemGuard: Defending against black-box membership inference attacks "
        "via adversarial examples"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The classifier takes 100 epochs of Adam at a rate of 0.003, where the authors' code takes "
        "400 of plain gradient descent at 0.001, which is far from its end on small sets.",
        "Its batches hold 64 members and 64 reference examples, which weigh the same, where the "
        "authors' code draws 64 from both together.",
    )
    reference: ClassVar[bool] = True

    name: Literal["memguard"] = "memguard"
    budget: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="mean L1 distance of shown from true scores, at most; 2 is no limit",
    )
    epochs: int = Field(
        100, ge=1, description="of the classifier, over the members, once the network is trained"
    )
    lr: float = Field(3e-3, gt=0, allow_inf_nan=False, description="learning rate of its Adam")
    iterations: int = Field(
        300, ge=1, description="most steps in search of an answer's noise, at each of 7 weights"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_steps(cls, options: Any) -> Any:
        if isinstance(options, dict) and "steps" in options:
            raise ValueError(
                "has no `steps` any more: its classifier learns once the network is trained, "
                "for `epochs` passes over the members"
            )
        return options

    def companion(self, classes: int) -> nn.Module:
        """The defender's classifier."""
        return MemberClassifier(classes)

    def companion_schedule(self) -> tuple[int, float]:
        """No step while the network trains, and the size of those that it takes afterwards."""
        return 0, self.lr

    def companion_loss(self, step: privaudit.Step) -> Tensor:
        """Its cross-entropy, members and reference examples weighing the same."""
        assert step.companion is not None
        inside = step.companion(step.logits, step.y)
        outside = step.companion(step.reference_logits, step.reference_y)
        return -(logsigmoid(inside).mean() + logsigmoid(-outside).mean()) / 2

    def finish(self, cohort: privaudit.Cohort) -> None:
        """Train the classifier on what the finished networks answer."""
        cohort.fit_companion(self.epochs)

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        """Logarithms of the shown scores, (N, C).

        Noise that makes the classifier less sure is used with the chance that keeps its mean L1
        norm within the budget, min(1, budget / norm): phase II of the paper.
        """
        assert companion is not None  # every cohort of a defense that writes one holds it
        asked = companion

        def guess(logits: Tensor) -> Tensor:
            return asked(logits, logits.argmax(-1))

        changed = disguised(logits, guess, self.iterations)
        distance = (changed.softmax(-1) - logits.softmax(-1)).abs().sum(-1)
        helps = guess(changed).abs() < guess(logits).abs()
        chance = torch.where(helps, self.budget / distance, 0)
        use = _coins(logits) < chance
        return torch.where(use[:, None], changed, logits).log_softmax(-1)


def _coins(logits: Tensor) -> Tensor:
    """(N,) uniform numbers in [0, 1), each a hash of one answer (N, C)."""
    bits = logits.double().contiguous().view(torch.int64)
    key = torch.zeros_like(bits[:, 0])
    for column in bits.unbind(1):
        key = fold(key, column)
    return uniform(key)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [MemGuard]
