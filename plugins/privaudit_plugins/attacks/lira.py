"""The likelihood ratio attack."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._in_turn import others, threshold_in_turn, turns
from privaudit_plugins.attacks._lira import Shadows, likelihood_ratios
from privaudit_plugins.attacks._phi import log_odds
from privaudit_plugins.attacks._pool import finite, spread
from privaudit_plugins.attacks._refusals import without_members

_EACH = 2  # shadows on each side of an example: fewer have no variance
_MANY = 64  # shadows on each side from which on the paper's variances are per example


class LikelihoodRatio(privaudit.Attack):
    """What `lira` and `lira_augmented` share: everything but the number of queries."""

    paper: ClassVar[str] = (
        "Carlini et al. 2022, Membership inference attacks from first principles, algorithm 1"
    )
    shadows: ClassVar[int] = _EACH
    mode: Literal["auto", "online", "offline"] = Field(
        "auto",
        description="online: shadows with the example against shadows without; offline: only "
        "those without; auto: online where each example has 2 of either",
    )
    variance: Literal["auto", "per_example", "global"] = Field(
        "auto",
        description="one variance for each example, or one for all; auto: per_example where each "
        "example has 64 shadows on each side",
    )
    center: Literal["mean", "median"] = Field("mean", description="of each Gaussian")

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """With halves, half the shadows trained on an example; otherwise none did."""
        if split.protocol == "halves" and shadows < 2 * _EACH:
            return f"needs {2 * _EACH} shadows with split.protocol halves: raise shadows"
        return without_members(split, "mode online") if self.mode == "online" else None

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Online log N(φ; in) - log N(φ; out), offline log Pr[N(out) < φ], summed over queries.

        An example's in-shadows are those it is a member of, its out-shadows those it is a
        non-member of or had no part in. The decision's threshold is the one of best balanced
        accuracy when shadows are the target in turn, attacked by the others in the same way;
        there is none where the others are too few, such as two pairs of shadows.

        Raises:
            PrivauditError: the shadows are too few, or a model's φ is NaN or infinite: it answers
                NaN, or no class other than the true one, or only those, has a finite logit.
        """
        rows = signals.audited.nonzero()[:, 0]
        role = signals.shadow_role[:, rows]
        inside, tested = role == privaudit.Role.MEMBER, role == privaudit.Role.NON_MEMBER
        outside = tested | (role == privaudit.Role.OUTSIDE)
        online = self._online(inside, outside)
        fewest = min(_fewest(side) for side in ([inside, outside] if online else [outside]))
        per_example = self.variance == "per_example" or (
            self.variance == "auto" and fewest >= _MANY
        )
        target = finite(log_odds(signals.target.logits, signals.y, rows), "the target")
        phi = log_odds(signals.shadows.logits, signals.y, rows)
        for k, answers in enumerate(phi):
            finite(answers, f"shadow {k}")

        def attack(targets: Tensor, kept: Tensor) -> Tensor:
            return likelihood_ratios(
                targets,
                Shadows(phi, inside, outside, kept),
                online=online,
                per_example=per_example,
                center=self.center,
            )

        everyone = torch.ones((1, len(phi)), dtype=torch.bool)
        score = spread(attack(target[None], everyone)[0], signals)
        count = turns(len(phi), len(rows))
        learnt = attack(phi[:count], others(inside, tested, count))
        threshold = threshold_in_turn(learnt, inside, tested)
        return privaudit.AttackScores(score, None if threshold is None else score >= threshold)

    def _online(self, inside: Tensor, outside: Tensor) -> bool:
        """Whether the mode is online, once there are shadows enough for it."""
        found = f"one has {_fewest(inside)} and one {_fewest(outside)} of {len(inside)}"
        setting = f"set split.protocol to halves and shadows to {2 * _EACH} or more"
        either = min(_fewest(inside), _fewest(outside)) >= _EACH
        if self.mode == "online" and not either:
            raise privaudit.PrivauditError(
                f"{self.name} with mode online needs {_EACH} shadows that trained on each audited "
                f"example and {_EACH} that did not, and {found}: {setting}"
            )
        if _fewest(outside) < _EACH:
            raise privaudit.PrivauditError(
                f"{self.name} needs {_EACH} shadows that did not train on each audited example, "
                f"and one has {_fewest(outside)} of {len(outside)}: {setting}"
            )
        return self.mode != "offline" and either


class LiRA(LikelihoodRatio):
    """How much likelier the model's confidence is with the example in its training data."""

    name: Literal["lira"] = "lira"


class LiRAAugmented(LikelihoodRatio):
    """LiRA with 18 queries for each example: itself and its augmentations, as in the paper."""

    queries: ClassVar[int] = 18
    name: Literal["lira_augmented"] = "lira_augmented"


def _fewest(side: Tensor) -> int:
    """The shadows on a side (K, n) of the example that has the fewest."""
    return int(side.sum(0).min())


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [LiRA, LiRAAugmented]
