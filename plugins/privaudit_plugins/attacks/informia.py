"""The information-theoretic membership inference attack."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

import privaudit
from privaudit_plugins.attacks._likelihood_ratio import LikelihoodRatio
from privaudit_plugins.attacks._rmia_rows import Known


class InfoRMIA(LikelihoodRatio):
    """How much more the target knows of an example than networks without it do, in nats.

    The score is log p / P, less its mean over the population: the target may be surer of all
    examples than the shadows are, and that says nothing of one of them. Of one target it ranks
    examples as `rmia` does with `ties: ratio`, for both rise with p / P; it has no γ, needs no
    large population, and its scores are a quantity rather than a share. The temperature is tuned
    as in `rmia`.
    """

    paper: ClassVar[str] = (
        "Tao & Shokri 2026, Information-theoretic membership inference for granular "
        "quantification of memorization"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The divergence that is taken off is derived from the abstract: the mean of log p / P "
        "over the population. It is one number for all examples of a target, and 0 where there "
        "is no population.",
        "Unless told, the temperature is tuned on the shadows, and P is guessed by an `a` that "
        "is fitted to them where no shadow has the example, as in `rmia`.",
        "The paper's scores of single tokens are not here: a network answers once for each "
        "example.",
    )
    name: Literal["informia"] = "informia"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Log p / P less its mean over the population, in nats.

        The decision's threshold is the one of best balanced accuracy when shadows are the target
        in turn, attacked by the others in the same way; there is none where the others are too
        few, such as one pair of shadows.

        Raises:
            PrivauditError: the shadows are too few, or a model answers NaN.
        """
        return self._scored(signals)

    def _judged(self, ratio: Tensor, known: Known) -> Tensor:
        size = known.tested.shape[1]
        shift = ratio[:, size:].nanmean(1, keepdim=True).nan_to_num(0.0)
        return ratio[:, :size] - shift


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [InfoRMIA]
