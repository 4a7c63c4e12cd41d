"""The first membership-inference attack: an attack network for each class, learnt from shadows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

import privaudit
from privaudit.keys import derive
from privaudit.learning import Problem, alike
from privaudit_plugins.attacks._perceptrons import Perceptrons
from privaudit_plugins.attacks._pool import (
    Pool,
    logits_of,
    needed,
    on_shadows,
    on_target,
)
from privaudit_plugins.attacks._rows import need_some, row_scores


class Shokri(privaudit.Attack):
    """One attack network for each class, over the prediction, learnt from the shadows.

    The network of a class learns from the shadows' predictions for examples of that class, and
    judges the target's for such examples alone. It has one hidden layer of 64 ReLU units. Members
    weigh as much as non-members, however few they are. A class of which the shadows have fewer
    than `least` members or non-members has no network, and its examples are left out.
    """

    paper: ClassVar[str] = (
        "Shokri et al. 2017, Membership inference attacks against machine learning models, "
        "section V; the hidden layer of 64 is that of section VI"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The paper leaves open how its attack networks are trained; Adam, 50 epochs, a learning "
        "rate of 0.01 and batches of 100 are those of code that an author of it published.",
        "One logit with a sigmoid stands for a softmax over two, which is the same function.",
        "An epoch of a class goes over its examples up to twice, so that classes of different "
        "sizes share their steps; they are weighed so that the mean loss is the same.",
        "The paper trains a network however few examples a class has; `least` is ours.",
    )
    shadows: ClassVar[int] = 1
    name: Literal["shokri"] = "shokri"
    hidden: PositiveInt = Field(64, description="units of the hidden layer")
    epochs: PositiveInt = Field(50, description="passes over the shadow examples of a class")
    learning_rate: float = Field(0.01, gt=0, allow_inf_nan=False, description="of Adam")
    batch_size: PositiveInt = Field(100, description="most shadow examples in one step")
    least: PositiveInt = Field(
        10, description="shadow members, and non-members, that a class needs to be judged"
    )

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The member's logit minus the non-member's, of each audited example of a judged class.

        Raises:
            PrivauditError: the shadows lack members or non-members, of all or of every class, or
                a model answers NaN.
        """
        return self.score_all([signals])[0]

    def score_all(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        """The same of several targets, whose networks are trained together.

        Raises:
            PrivauditError: as `score`.
        """
        pools = [needed(self.name, one, on_shadows(one, _prediction)) for one in signals]
        asked = [on_target(one, _prediction).float() for one in signals]
        scores = [torch.full((len(x),), torch.nan, dtype=torch.float64) for x in asked]
        lessons = [
            (number, label, problem)
            for number, (one, pool) in enumerate(zip(signals, pools, strict=True))
            for label, problem in self._lessons(pool, one.seed)
        ]
        for group in alike([problem for _, _, problem in lessons]):
            problems = [lessons[place][2] for place in group]
            together = Perceptrons(
                problems[0].x.shape[1],
                ((self.hidden,),),
                (self.learning_rate,),
                [problem.generator for problem in problems],
            )
            together.train(problems, epochs=self.epochs, batch_size=self.batch_size)
            for place, (number, label, _) in enumerate(lessons[place] for place in group):
                own = signals[number].y[signals[number].audited] == label
                scores[number][own] = together.logits(place, asked[number][own])[0].double()
        return [self._judged(*pair) for pair in zip(signals, scores, strict=True)]

    def _lessons(self, pool: Pool, seed: int) -> Iterator[tuple[int, Problem]]:
        """What the network of each class learns from, where a class has enough."""
        for label in torch.unique(pool.y).tolist():
            own = pool.y == label
            member = pool.member[own]
            if min(int(member.sum()), int((~member).sum())) >= self.least:
                generator = torch.Generator().manual_seed(derive(seed, self.name, label))
                yield label, problem(pool.value[own].float(), member, generator)

    def _judged(self, signals: privaudit.Signals, score: Tensor) -> privaudit.AttackScores:
        lacks = (
            f"{self.least} members and {self.least} non-members of their class among the shadows"
        )
        scorable = ~score.isnan()
        need_some(self.name, scorable, lacks)
        return row_scores(signals, score, 0.0, scorable=scorable, lacks=lacks)


def problem(x: Tensor, member: Tensor, generator: torch.Generator) -> Problem:
    """To tell members of one class, in a number of rows that other classes have as well.

    Rows are repeated up to the next power of two. A row's weights sum to the same as without.

    Args:
        x: (n, F).
        member: (n,) bool, with at least one of each.
        generator: of the initial weights and the order.
    """
    count = len(x)
    size = 1 << (count - 1).bit_length()
    rows = torch.arange(size) % count
    times = torch.bincount(rows, minlength=count)
    side = torch.where(member, member.sum(), (~member).sum())
    weight = size / (2 * side * times).to(x.dtype)
    return Problem(x[rows], member[rows].to(x.dtype), weight[rows], generator)


def _prediction(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
    """The softmax (n, C), float64, of some rows."""
    return logits_of(outputs, rows, whose).softmax(-1)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Shokri]
