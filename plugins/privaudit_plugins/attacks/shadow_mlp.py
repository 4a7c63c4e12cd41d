"""The discriminators of Gonon et al.: small perceptrons that learn from shadow models."""

from __future__ import annotations

import logging
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

import privaudit
from privaudit.keys import derive
from privaudit_plugins.attacks._features import shadow_features, target_features
from privaudit_plugins.attacks._perceptrons import Perceptrons
from privaudit_plugins.attacks._pool import spread

logger = logging.getLogger(__name__)

Shape = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ShadowMLP(privaudit.Attack):
    """Perceptrons over class, prediction and sensitivity, learnt from the shadows.

    The paper leaves open its learning rates, its batch size and which of its discriminators
    counts. Here the one with the best balanced accuracy on held-out shadow examples speaks, and
    the features are standardised by the shadows' mean and standard deviation.
    """

    paper: ClassVar[str] = (
        "Gonon et al. 2023, Sparsity can improve privacy of neural networks, section 4"
    )
    noise: ClassVar[int] = 5
    shadows: ClassVar[int] = 1
    name: Literal["shadow_mlp"] = "shadow_mlp"
    hidden: tuple[Shape, ...] = Field(
        ((30,), (30, 30), (100, 100, 100)),
        min_length=1,
        description="widths of the hidden layers of each shape of discriminator",
    )
    learning_rates: tuple[Rate, ...] = Field(
        (1e-2, 1e-3, 1e-4), min_length=1, description="each shape is trained with each of these"
    )
    epochs: PositiveInt = Field(80, description="passes over the shadow examples")
    batch_size: PositiveInt = Field(128, description="most shadow examples in one step")
    holdout: float = Field(
        0.2, gt=0, lt=1, description="share of shadow examples that choose the discriminator"
    )

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The chosen discriminator's logit for each audited example; all in `variants`.

        Raises:
            PrivauditError: the shadows lack members or non-members, or a model answers NaN.
        """
        found, member = shadow_features(self.name, signals)
        held = held_out(member, self.holdout, derive(signals.seed, self.name, "holdout"))
        std, mean = torch.std_mean(found[~held], 0, correction=0)
        scale = torch.where(std > 0, std, 1)
        found, target_x = (
            x.sub_(mean).div_(scale).float() for x in (found, target_features(signals))
        )
        train_x, held_x = found[~held], found[held]
        perceptrons = self._learn(train_x, member[~held], signals.seed)
        accuracy = balanced_accuracy(perceptrons.logits(held_x) > 0, member[held])
        names = [
            f"{'-'.join(map(str, shape))} lr {rate:g}"
            for shape in self.hidden
            for rate in self.learning_rates
        ]
        scores = [spread(logits, signals) for logits in perceptrons.logits(target_x)]
        variants = {
            name: privaudit.AttackScores(score, score > 0)
            for name, score in zip(names, scores, strict=True)
        }
        best = max(range(len(names)), key=accuracy.__getitem__)  # the first of equals
        logger.info(
            "%s: %s speaks, held-out balanced accuracy %.3f",
            self.name, names[best], accuracy[best],
        )  # fmt: skip
        return privaudit.AttackScores(scores[best], scores[best] > 0, variants)

    def _learn(self, x: Tensor, member: Tensor, seed: int) -> Perceptrons:
        """All discriminators, trained on x (n, F) with both classes weighing the same."""
        generator = torch.Generator().manual_seed(derive(seed, self.name, "train"))
        perceptrons = Perceptrons(x.shape[1], self.hidden, self.learning_rates, generator)
        share = member.float().mean()
        perceptrons.train(
            x,
            member.float(),
            torch.where(member, 0.5 / share, 0.5 / (1 - share)),
            epochs=self.epochs,
            batch_size=self.batch_size,
            generator=generator,
        )
        return perceptrons


def held_out(member: Tensor, share: float, seed: int) -> Tensor:
    """Which examples are held out: (n,) bool, a share of the members and of the non-members.

    Raises:
        PrivauditError: there are too few of either to learn from some and hold out others.
    """
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros_like(member)
    for side in (member, ~member):
        rows = side.nonzero()[:, 0]
        if len(rows) < 2:
            raise privaudit.PrivauditError(
                f"shadow_mlp learns from shadow examples and holds others out, but the shadows "
                f"have {int(member.sum())} members and {int((~member).sum())} non-members: "
                "give them at least two of each"
            )
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        held[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return held


def balanced_accuracy(decision: Tensor, member: Tensor) -> list[float]:
    """Mean of the accuracies on members and on non-members, of decisions (V, n) bool."""
    right = (decision == member).double()
    answer = (right[:, member].mean(1) + right[:, ~member].mean(1)) / 2
    return [float(value) for value in answer]


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ShadowMLP]
