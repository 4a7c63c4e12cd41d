"""The Bayesian variance inference attack."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._in_turn import attacked_in_turn
from privaudit_plugins.attacks._lira import Shadows
from privaudit_plugins.attacks._pool import odds_of_all
from privaudit_plugins.attacks._posterior import Predictive, posterior_ratios
from privaudit_plugins.attacks._refusals import without_members, without_shadows
from privaudit_plugins.attacks._rows import need_some, row_scores, row_shadows

_LACKS = "a shadow that was not trained on them"


class BaVarIA(privaudit.Attack):
    """LiRA with a prior: what all examples show makes up for few shadows of each.

    The variance of an example's φ over two shadows says next to nothing, and one variance for all
    examples leaves out that they differ. Here each example's variance is drawn towards what is
    usual, as far as its shadows are few, so that there is no number of shadows from which on one
    rule follows another.
    """

    paper: ClassVar[str] = (
        "Brännvall 2026, Exponential-family membership inference: from LiRA and RMIA to BaVarIA"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The paper's abstract says that the prior is normal-inverse-gamma and the score a Student "
        "t or a Gaussian; how the prior is learned is derived here: variances by Smyth's moments "
        "of log variances, means with the example around those without it.",
        "Queries count as independent, as in `lira`.",
    )
    shadows: ClassVar[int] = 1
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["bavaria"] = "bavaria"
    mode: Literal["auto", "online", "offline"] = Field(
        "auto",
        description="online: shadows with the example against shadows without; offline: only "
        "those without; auto: online where some example has both",
    )
    predictive: Predictive = Field(
        "t",
        description="t: the Student t that the posterior predicts; normal: a Gaussian with the "
        "posterior's mean and variance",
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """One pair of shadows is enough."""
        online = self.mode == "online"
        return (without_members(split, "mode online") if online else None) or without_shadows(
            split, shadows
        )

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The logarithm of how much likelier φ is with the example, summed over queries.

        Offline, how many standard deviations φ lies above what it is without the example. Examples
        without an out-shadow are left out; online, those without an in-shadow are judged by what
        is usual for all, and reported as offline. The decision's threshold is the one of best
        balanced accuracy when shadows are the target in turn, attacked by the others.

        Raises:
            ShortageError: no example has shadows enough.
            PrivauditError: a model's φ is NaN: it answers NaN or infinity.
        """
        shadows = row_shadows(signals)
        scorable = shadows.having(outside=1)
        need_some(self.name, scorable, _LACKS)
        both = shadows.having(inside=1, outside=1)
        online = self.mode == "online" or (self.mode == "auto" and bool(both.any()))
        if online:
            need_some(self.name, both, f"{_LACKS}, or one that was")
        phi = odds_of_all(signals, shadows.rows)

        def attack(targets: Tensor, kept: Tensor) -> Tensor:
            known = Shadows(phi[1:], shadows.inside, shadows.outside, kept)
            return posterior_ratios(targets, known, online=online, predictive=self.predictive)

        score, threshold = attacked_in_turn(attack, phi, shadows.inside, shadows.tested)
        return row_scores(
            signals,
            score,
            threshold,
            scorable=scorable,
            lacks=_LACKS,
            offline=~both if online else None,
        )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [BaVarIA]
