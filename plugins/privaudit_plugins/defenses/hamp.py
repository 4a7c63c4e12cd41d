"""HAMP: labels, answers and scores of high entropy."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.defenses._labels import entropy, soft_cross_entropy, soft_labels


class HAMP(privaudit.Defense):
    """Train towards unsure answers, and tell nothing but the order of the classes.

    Labels are softened until their entropy is `gamma` times that of a uniform label. The loss is
    KL(label ‖ p) - C · weight · H(p), of C classes. An answer's scores are replaced by ones that do
    not depend on the example, in the order of its own: the likeliest class gets the largest.

    Published, these scores are the network's on an input drawn at random for each query. Here they
    are the same for all queries and models: each a constant factor below the next larger one, with
    the labels' entropy. Both tell the order of the classes and no more, so what can be learnt from
    one can be learnt from the other.
    """

    paper: ClassVar[str] = (
        "Chen & Pattabiraman 2024, Overconfidence is a dangerous thing: mitigating membership "
        "inference attacks by enforcing less confident prediction"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The scores shown are the same for all queries and models, where the paper takes the "
        "network's on an input drawn at random for each: both tell the order of classes "
        "alone, and these need no second query.",
        "Labels have the entropy asked for, where the authors' code lowers the true class's share "
        "in steps of 0.01 until they have it or more.",
        "The loss is that of the authors' code times the number of classes: there the KL "
        "divergence is divided by it. `weight` weighs the same against the divergence, and "
        "gradients are as large as those of cross-entropy, so that learning rates mean the same.",
    )

    name: Literal["hamp"] = "hamp"
    gamma: float = Field(
        0.95,
        ge=0.01,
        le=0.999,
        description="entropy of a label, as a share of a uniform label's; published: CIFAR-10 "
        "0.95, CIFAR-100 0.5, Purchase 0.8, Texas 0.6, Location 0.5",
    )
    weight: float = Field(
        0.001,
        ge=0,
        allow_inf_nan=False,
        description="of the mean entropy, taken from a KL divergence that is divided by the number "
        "of classes; published: CIFAR-10 0.001, CIFAR-100 0.005, Purchase 0.01, Texas 0.01, "
        "Location 0.001",
    )
    modify: bool = Field(True, description="replace the scores of answers; false: training only")

    def loss(self, step: privaudit.Step) -> Tensor:
        """KL(label ‖ p) - C · weight · H(p), both means over the batch."""
        classes = step.logits.shape[-1]
        share = torch.full_like(step.logits[0, 0], label_share(self.gamma, classes))
        labels = soft_labels(step.y, share, classes)
        divergence = soft_cross_entropy(step.logits, labels).mean() - self.gamma * log(classes)
        return divergence - classes * self.weight * entropy(step.logits).mean()

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        """Scores (N, C) of the labels' entropy, in the order of each row of logits."""
        if not self.modify:
            return logits
        ranks = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
        scores = -score_step(self.gamma, logits.shape[-1]) * ranks
        order = logits.argsort(stable=True, dim=-1, descending=True)
        return torch.empty_like(logits).scatter(-1, order, scores.expand_as(logits))


def label_share(gamma: float, classes: int) -> float:
    """The share p of the true class, p > 1/C, for which a label's entropy is gamma · log C.

    The others share the rest evenly: H = -p log p - (1 - p) log((1 - p) / (C - 1)).
    """

    def excess(p: float) -> float:
        rest = (1 - p) / (classes - 1)
        return -p * log(p) - (1 - p) * log(rest) - gamma * log(classes)

    return _root(excess, 1 / classes, 1 - 1e-15)


def score_step(gamma: float, classes: int) -> float:
    """The s for which scores exp(-s · rank) have an entropy of gamma · log C."""
    ranks = torch.arange(classes, dtype=torch.float64)[None]

    def excess(s: float) -> float:
        return float(entropy(-s * ranks)) - gamma * log(classes)

    return _root(excess, 0.0, 100.0)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=1e-14))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [HAMP]
