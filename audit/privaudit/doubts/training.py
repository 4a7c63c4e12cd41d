"""Doubts about networks: whether training has taught them their own members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from torch import Tensor
from torch.nn.functional import cross_entropy

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.guessing import Agreement, agreement

_LOST = 2  # a loss so many times that of guessing was not left so by too little training


@dataclass(frozen=True)
class Fitness:
    """How well a network knows its own members.

    Attributes:
        members: how many of its answers agree with their labels.
        loss: mean cross-entropy of its answers about them.
        guessing_loss: that of giving every class the same probability, ln C.
        bounded: all its answers, to whatever example, are numbers from 0 to 1.
    """

    members: Agreement
    loss: float
    guessing_loss: float
    bounded: bool


def fitness(logits: Tensor, y: Tensor, members: Tensor) -> Fitness:
    """Of one network.

    Args:
        logits: (N, C).
        y: (N,) int64.
        members: (N,) bool: its own.
    """
    classes = logits.shape[1]
    inside = logits[members]
    return Fitness(
        agreement(y[members], inside.argmax(1), classes),
        float(cross_entropy(inside.double(), y[members])),
        log(classes),
        bool((logits >= 0).all()) and 0.5 < float(logits.max()) <= 1,
    )


def fitness_of(
    predicted: Tensor, probability: Tensor, y: Tensor, classes: int, *, bounded: bool
) -> Fitness:
    """Of one network of which no logits are kept.

    Args:
        predicted: (n,) int64, the likeliest classes of its n members.
        probability: (n,) float32, those of their labels.
        y: (n,) int64.
        classes: C.
        bounded: all its answers are numbers from 0 to 1.
    """
    loss = -probability.double().clamp(min=1e-45).log().mean()  # float32 has nothing smaller
    return Fitness(agreement(y, predicted, classes), float(loss), log(classes), bounded)


def training_doubts(about: str, target: Fitness, shadows: Sequence[Fitness]) -> list[Doubt]:
    """What speaks against taking an audit of a target for one of a trained network.

    Args:
        about: the target, as reports call it.
        target: how well it knows its members.
        shadows: the same of each of its shadows.
    """
    doubts = []
    if target.bounded:
        doubts.append(
            Doubt(
                "bounded_answers",
                about,
                "all answers are numbers from 0 to 1, as a sigmoid gives them: return the logits "
                "before it, because loss and attacks take the softmax themselves",
            )
        )
    lost = [shadow for shadow in shadows if shadow.members.guessing]
    if target.members.guessing:
        doubts.append(
            Doubt(
                "chance",
                about,
                "an attack on a network that does not know its own members says nothing about "
                f"privacy: {_remedy(target)}",
                f"classifies {target.members.words('its own members')}",
            )
        )
    elif 2 * len(lost) > len(shadows):
        doubts.append(
            Doubt(
                "shadows_at_chance",
                about,
                "what attacks learn from shadows that do not know their own members says nothing "
                f"about a target that does: {_remedy(lost[0])}",
                f"{len(lost)} of {len(shadows)} shadows are no better than guessing on their "
                f"members, and it classifies {100 * target.members.accuracy:.1f} % rightly",
            )
        )
    return doubts


def _remedy(network: Fitness) -> str:
    if network.loss > _LOST * network.guessing_loss:
        return "training diverged (the loss is far above that of guessing), so lower training.lr"
    return "train longer, or otherwise"
