"""The loss of an example against what it is for networks that never saw it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._log_space import log_softplus
from privaudit_plugins.attacks._phi import finite_ends
from privaudit_plugins.attacks._pool import checked_odds, odds_of
from privaudit_plugins.attacks._refusals import without_shadows
from privaudit_plugins.attacks._rows import need_some, row_scores, row_shadows
from privaudit_plugins.attacks._thresholds import best_threshold

_LACKS = "a shadow that was neither trained nor tuned on them"

_SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "log_loss": lambda phi: -log_softplus(-phi),
    "log_odds": lambda phi: phi,
    "loss": torch.nn.functional.logsigmoid,
}
"""From φ to minus the number that is compared; log p_y is logsigmoid(φ)."""


class Reference(privaudit.Attack):
    """The further the loss lies below that of networks without the example, the likelier a member.

    An example that is easy for everyone has a low loss whether or not it was trained on: the
    shadows that did not have it say how easy it is.

    The papers compare the losses themselves. That leaves all examples that networks are sure of
    beside 0, where in float64 a loss is exactly 0 from a log-odds of 36.7 on. Here their
    logarithms are compared, so that the score is the logarithm of a ratio of losses, and no
    certainty is lost. AUC and true positive rate at 1 %, means over 24 perceptrons as the target,
    each trained on an example with probability one half, against K others:

    | | K | loss | log_odds | log_loss |
    | --- | --- | --- | --- | --- |
    | digits, 600 rows | 8 | .611, 2.7 % | .639, 6.7 % | .642, 6.0 % |
    | | 32 | .602, 3.6 % | .650, 9.1 % | .653, 8.7 % |
    | Location-30, 3,000 rows | 2 | .770, 8.4 % | .886, 26.3 % | .910, 30.8 % |
    | | 8 | .788, 12.7 % | .920, 39.3 % | .938, 40.8 % |
    | | 32 | .801, 16.9 % | .935, 47.5 % | .950, 49.4 % |

    Far out log_odds finds more: at 0.1 %, `recipes/attacks_location30.yaml` has 18.9 % by it and
    11.5 % by log_loss (AUC .920 and .934). It then is `lira` offline with one variance for all.
    """

    paper: ClassVar[str] = (
        "Watson et al. 2022, On the importance of difficulty calibration in membership inference "
        "attacks; with a quantile in place of the mean, attack R of Ye et al. 2022"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Logarithms of losses are compared unless told, where the papers compare losses, "
        "which round to 0 where networks are sure; `scale: loss` is theirs.",
    )
    shadows: ClassVar[int] = 1
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["reference"] = "reference"
    scale: Literal["log_loss", "log_odds", "loss"] = Field(
        "log_loss",
        description="of what is averaged and compared; log_loss and log_odds never round, loss is "
        "the papers' and does",
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """Each example wants a shadow that was not trained on it, and coins may not give it one."""
        return without_shadows(split, shadows)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Mean over the shadows that neither trained nor tuned on it, minus the target's.

        Examples without such a shadow are left out. The decision's threshold is the one of best
        balanced accuracy when each shadow in turn is scored against the others; with one shadow
        (of `halves`, two) there is no decision.

        Raises:
            ShortageError: no audited example has such a shadow.
            PrivauditError: a model answers NaN.
        """
        audited, role = signals.audited, signals.shadow_role
        tested = (role == privaudit.Role.MEMBER) | (role == privaudit.Role.NON_MEMBER)
        shadows = row_shadows(signals, audited | tested.any(0))  # of disjoint pools, theirs too
        judged = audited[shadows.rows]
        scorable = shadows.having(outside=1)
        need_some(self.name, scorable[judged], _LACKS)
        target, sure = self._sureness(signals, shadows.rows[judged], shadows.rows)
        count = shadows.outside.sum(0)
        total = (sure * shadows.outside).sum(0)
        score = target - (total / count)[judged]

        rest = count - shadows.outside.int()  # (K, n): the other shadows without the example
        learnable = (shadows.inside | shadows.tested) & (rest > 0)
        learnt = sure[learnable] - (total - sure * shadows.outside)[learnable] / rest[learnable]
        member = shadows.inside[learnable]
        decides = 0 < int(member.sum()) < len(member)
        threshold = best_threshold(learnt, member) if decides else None
        return row_scores(signals, score, threshold, scorable=scorable[judged], lacks=_LACKS)

    def _sureness(
        self, signals: privaudit.Signals, judged: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Minus what is compared, finite: the target's on rows (n,), the shadows' on rows (m,)."""
        target = odds_of(signals.target, judged, signals.y, "the target")
        phi = signals.shadows.of("log_odds", rows, signals.y)[:, 0]
        for k, answers in enumerate(phi):
            checked_odds(answers, f"shadow {k}")
        scale = _SCALES[self.scale]
        target, phi = finite_ends(target, phi)
        return scale(target), scale(phi)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Reference]
