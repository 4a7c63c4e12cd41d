"""The loss of an example among the losses of examples that nobody trained on."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._pool import judged, odds_of
from privaudit_plugins.attacks._refusals import without_population


class Population(privaudit.Attack):
    """The fewer examples of the population have so low a loss, the likelier a member.

    The population are the rows that are not audited. A recipe's validation and reference examples
    are among them. Losses are compared by the log-odds of the true class, which fall as they rise
    and, unlike them, are not all 0 where a network is sure.
    """

    paper: ClassVar[str] = (
        "Ye et al. 2022, Enhanced membership inference attacks against machine learning models, "
        "attack P"
    )
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["population"] = "population"
    per_class: bool = Field(
        False, description="compare with the population of the example's own class only"
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """It compares with examples that are not audited."""
        return without_population(split)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """1 minus the p-value of "not a member", (1 + examples with log-odds so high) / (1 + all).

        The decision's threshold is the one of best balanced accuracy over all shadows, each with
        its own population; without shadows there is no decision.

        Raises:
            ShortageError: there is no population, or of some class none.
            PrivauditError: a model answers NaN.
        """

        def measure(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            rest = torch.ones_like(signals.y, dtype=torch.bool)
            rest[rows] = False
            others = rest.nonzero()[:, 0]
            phi, y = odds_of(outputs, rows, signals.y, whose), signals.y[rows]
            other_phi, other_y = odds_of(outputs, others, signals.y, whose), signals.y[others]
            if not self.per_class:
                return 1 - _p_value(phi, other_phi, whose, "")
            values = torch.empty_like(phi)
            for label in y.bincount().nonzero()[:, 0].tolist():
                same, population = y == label, other_phi[other_y == label]
                values[same] = 1 - _p_value(phi[same], population, whose, f" of class {label}")
            return values

        return judged(signals, measure)


def _p_value(phi: Tensor, population: Tensor, whose: str, which: str) -> Tensor:
    """(n,): how unusual φ (n,) as high as these are in a population (Z,), in (0, 1]."""
    if len(population) == 0:
        raise privaudit.ShortageError(
            f"population compares {whose}'s losses with those of examples that are not audited, "
            f"and there are none{which}" + (" (see its option per_class)" if which else ""),
            "population",
        )
    lower = torch.searchsorted(population.sort().values, phi, right=False)
    return (1 + len(population) - lower).double() / (1 + len(population))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Population]
