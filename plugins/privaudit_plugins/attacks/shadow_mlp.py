"""The discriminators of Gonon et al.: small perceptrons that learn from shadow models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

import privaudit
from privaudit.keys import derive
from privaudit.learning import Problem, alike
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
    deviations: ClassVar[tuple[str, ...]] = (
        "The paper leaves open which of its nine discriminators counts; here it is the best "
        "on held-out shadow examples.",
        "The paper leaves open the learning rates and the batch size; `learning_rates` and "
        "`batch_size` are ours.",
    )
    noise: ClassVar[int] = 5
    noise_optional: ClassVar[bool] = True
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
        return self.score_all([signals])[0]

    def score_all(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        """The same of several targets, whose discriminators are trained together.

        Raises:
            PrivauditError: as `score`.
        """
        lessons = [self._lesson(one) for one in signals]
        scores: dict[int, privaudit.AttackScores] = {}
        for group in alike([lesson.problem for lesson in lessons]):
            problems = [lessons[number].problem for number in group]
            features, generators = problems[0].x.shape[1], [p.generator for p in problems]
            together = Perceptrons(features, self.hidden, self.learning_rates, generators)
            together.train(problems, epochs=self.epochs, batch_size=self.batch_size)
            for place, number in enumerate(group):
                scores[number] = self._judged(lessons[number], together, place, signals[number])
        return [scores[number] for number in range(len(signals))]

    def _lesson(self, signals: privaudit.Signals) -> _Lesson:
        """What one target's discriminators learn from, both classes weighing the same."""
        found, member = shadow_features(self.name, signals)
        held = held_out(member, self.holdout, derive(signals.seed, self.name, "holdout"))
        std, mean = torch.std_mean(found[~held], 0, correction=0)
        scale = torch.where(std > 0, std, 1)
        found, target_x = (
            x.sub_(mean).div_(scale).float() for x in (found, target_features(signals))
        )
        learnt = member[~held]
        share = learnt.float().mean()
        generator = torch.Generator().manual_seed(derive(signals.seed, self.name, "train"))
        weight = torch.where(learnt, 0.5 / share, 0.5 / (1 - share))
        problem = Problem(found[~held], learnt.float(), weight, generator)
        return _Lesson(problem, found[held], member[held], target_x)

    def _judged(
        self, lesson: _Lesson, together: Perceptrons, place: int, signals: privaudit.Signals
    ) -> privaudit.AttackScores:
        """What the discriminators of the problem at a place say about its target."""
        accuracy = balanced_accuracy(together.logits(place, lesson.held) > 0, lesson.held_member)
        names = [
            f"{'-'.join(map(str, shape))} lr {rate:g}"
            for shape in self.hidden
            for rate in self.learning_rates
        ]
        scores = [spread(logits, signals) for logits in together.logits(place, lesson.target)]
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


@dataclass(frozen=True)
class _Lesson:
    """What one target's discriminators learn from, choose the best by, and are asked.

    Attributes:
        problem: the examples to learn from.
        held: (h, F) held out.
        held_member: (h,) bool.
        target: (n, F) the audited examples.
    """

    problem: Problem
    held: Tensor
    held_member: Tensor
    target: Tensor


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
