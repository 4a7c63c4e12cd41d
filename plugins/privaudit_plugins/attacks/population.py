"""The loss of an example among the losses of examples that nobody trained on."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit_plugins.attacks._pool import judged, logits_of
from privaudit_plugins.attacks._refusals import without_population


class Population(privaudit.Attack):
    """The fewer examples of the population have so low a loss, the likelier a member.

    The population are the rows that are not audited. A recipe's validation and reference examples
    are among them.
    """

    paper: ClassVar[str] = (
        "Ye et al. 2022, Enhanced membership inference attacks against machine learning models, "
        "attack P"
    )
    name: Literal["population"] = "population"
    per_class: bool = Field(
        False, description="compare with the population of the example's own class only"
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """It compares with examples that are not audited."""
        return without_population(split)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """1 minus the p-value of "not a member", (1 + examples with a loss so low) / (1 + all).

        The decision's threshold is the one of best balanced accuracy over all shadows, each with
        its own population; without shadows there is no decision.

        Raises:
            PrivauditError: there is no population, or of some class none, or a model answers NaN.
        """

        def measure(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            rest = torch.ones_like(signals.y, dtype=torch.bool)
            rest[rows] = False
            others = rest.nonzero()[:, 0]
            loss, y = _losses(outputs, rows, signals.y, whose), signals.y[rows]
            other_loss, other_y = _losses(outputs, others, signals.y, whose), signals.y[others]
            if not self.per_class:
                return 1 - _p_value(loss, other_loss, whose, "")
            values = torch.empty_like(loss)
            for label in y.bincount().nonzero()[:, 0].tolist():
                own, population = y == label, other_loss[other_y == label]
                values[own] = 1 - _p_value(loss[own], population, whose, f" of class {label}")
            return values

        return judged(signals, measure)


def _p_value(loss: Tensor, population: Tensor, whose: str, which: str) -> Tensor:
    """(n,): how unusual losses (n,) as low as these are in a population (Z,), in (0, 1]."""
    if len(population) == 0:
        raise privaudit.PrivauditError(
            f"population compares {whose}'s losses with those of examples that are not audited, "
            f"and there are none{which}: leave some over by setting split.members lower"
            + (", or set per_class to false" if which else "")
        )
    as_low = torch.searchsorted(population.sort().values, loss, right=True)
    return (1 + as_low).double() / (1 + len(population))


def _losses(outputs: privaudit.Outputs, rows: Tensor, y: Tensor, whose: str) -> Tensor:
    return cross_entropy(logits_of(outputs, rows, whose), y[rows], reduction="none")


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Population]
