"""The robust membership inference attack."""

from __future__ import annotations

import warnings
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._likelihood_ratio import LikelihoodRatio
from privaudit_plugins.attacks._refusals import without_population
from privaudit_plugins.attacks._rmia import share_dominated, ties_broken
from privaudit_plugins.attacks._rmia_rows import Known

_ENOUGH = 50  # examples of the population; with fewer a share has very few values


class RMIA(LikelihoodRatio):
    """How many examples of the population the likelihood ratio of an example exceeds.

    The population are the rows that are not audited, but for those that shadows validate with or
    defend themselves with.

    The defaults are not the paper's γ = 2, T = 1, which say nothing where all probabilities are
    near one. Over nine sets of networks (`benchmarks/README.md`) the temperature decides: tuned on
    8 or 32 shadows its AUC is within 0.002 of the best of any option, 0.008 with 60 members; T = 2,
    taken where the shadows are too few to tune on, within 0.015. γ changes a rank only where it
    saturates, which γ = 1 never does.
    """

    paper: ClassVar[str] = (
        "Zarifzadeh et al. 2024, Low-cost high-power membership inference attacks"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Unless told, γ is 1 and the temperature is tuned on the shadows, where the paper has "
        "γ = 2 and T = 1, which say nothing where all probabilities are near one.",
        "Unless told, probabilities are a softmax, where the paper's main tables have "
        "`softmax: taylor` at temperature 2.",
        "Examples that exceed equally many others are ranked by their ratio, where the paper "
        "leaves them equal, as `ties: keep` does.",
        "The guess `a` is fitted to examples that have shadows on both sides, where the paper "
        "searches the best on one shadow; `a: tune` searches on several.",
    )
    name: Literal["rmia"] = "rmia"
    gamma: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="γ, by which a ratio must exceed another"
    )
    ties: Literal["ratio", "keep"] = Field(
        "ratio",
        description="ratio: of examples that exceed equally many, the larger ratio comes first; "
        "keep: the paper's share, which has one value more than the population has examples",
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """It wants a population, and for some options shadows that trained on the audited."""
        return without_population(split, held_out=False) or super().refusal(split, shadows)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The share of the population whose ratio p / P is at least γ times smaller.

        The decision's threshold is the one of best balanced accuracy when shadows are the target
        in turn, attacked by the others in the same way; there is none where the others are too
        few, such as one pair of shadows.

        Raises:
            PrivauditError: there is no population, the shadows are too few, or a model answers
                NaN.
        """
        return self._scored(signals)

    def _judged(self, ratio: Tensor, known: Known) -> Tensor:
        """(T, n): the scores of T targets whose log-ratios are (T, n + Z)."""
        size = known.tested.shape[1]
        shares = []
        for values, population in zip(ratio[:, :size], ratio[:, size:], strict=True):
            share = share_dominated(values, population, self.gamma)
            if self.ties == "ratio":
                share = ties_broken(share, values, int((~population.isnan()).sum()))
            shares.append(share)
        return torch.stack(shares)

    def _population(self, signals: privaudit.Signals) -> Tensor:
        """Where (Z,) int64 the examples stand that audited ones are compared with."""
        population = super()._population(signals)
        if len(population) == 0:
            raise privaudit.ShortageError(
                "rmia compares with a population of examples that are not audited, and there are "
                "none",
                lacking="population",
            )
        if len(population) < _ENOUGH and self.ties == "keep":
            below = int(signals.audited.sum()) // 2
            warnings.warn(  # which Python shows once, however many targets there are
                f"rmia compares with a population of {len(population)}, too few for its AUC to "
                f"mean much: set ties to ratio, or split.members below {below}, so that {_ENOUGH} "
                "or more are left",
                stacklevel=2,
            )
        return population


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RMIA]
