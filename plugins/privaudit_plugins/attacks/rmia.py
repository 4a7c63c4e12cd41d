"""The robust membership inference attack."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit.statistics.metrics import roc_auc
from privaudit_plugins.attacks._in_turn import others, threshold_in_turn, turns
from privaudit_plugins.attacks._phi import log_probability
from privaudit_plugins.attacks._pool import finite, spread
from privaudit_plugins.attacks._refusals import without_members, without_population
from privaudit_plugins.attacks._rmia import log_from_outside, log_mean, share_dominated

_TUNERS = 8  # shadows that choose `a`; the paper takes one
_ENOUGH = 50  # examples of the population; with fewer a score has very few values
_GRID = tuple(step / 10 for step in range(11))


@dataclass(frozen=True)
class _Known:
    """What is known of n audited examples and, after them, Z of the population.

    Attributes:
        log_p: (K, n + Z) float64: how likely each shadow takes the true class to be.
        counts: (K, n + Z) bool: shadows that P is a mean over.
        inside: (K, n) bool: shadows' members among the audited.
        outside: (K, n) bool: their non-members.
    """

    log_p: Tensor
    counts: Tensor
    inside: Tensor
    outside: Tensor


class RMIA(privaudit.Attack):
    """How many examples of the population the likelihood ratio of an example exceeds.

    The population are the rows that are not audited, but for those that shadows validate with or
    defend themselves with.
    """

    paper: ClassVar[str] = (
        "Zarifzadeh et al. 2024, Low-cost high-power membership inference attacks"
    )
    shadows: ClassVar[int] = 1
    name: Literal["rmia"] = "rmia"
    mode: Literal["auto", "online", "offline"] = Field(
        "auto",
        description="online: P is the mean over shadows with and without the example; offline: "
        "guessed from those without; auto: online where each example has both",
    )
    gamma: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="γ, by which a ratio must exceed another"
    )
    temperature: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="divides the logits before the softmax"
    )
    a: Annotated[float, Field(ge=0, le=1)] | Literal["tune"] = Field(
        0.33,
        description="offline, P is ((1 + a)·P_out + 1 - a) / 2; tune: the tenth with the best AUC "
        "on shadows that are attacked by the others",
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """It wants a population, and for some options shadows that trained on the audited."""
        refusal = without_population(split, held_out=False)
        if self.mode == "online":
            return refusal or without_members(split, "mode online")
        return refusal or (without_members(split, "a: tune") if self.a == "tune" else None)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The share of the population whose ratio p / P is at least γ times smaller.

        The decision's threshold is the one of best balanced accuracy when shadows are the target
        in turn, attacked by the others in the same way; there is none where the others are too
        few, such as one pair of shadows.

        Raises:
            PrivauditError: there is no population, the shadows are too few, or a model answers
                NaN or infinity.
        """
        role, audited = signals.shadow_role, signals.audited
        inside, tested = role == privaudit.Role.MEMBER, role == privaudit.Role.NON_MEMBER
        counts = tested | (role == privaudit.Role.OUTSIDE)  # shadows without the example
        online = self._online(inside[:, audited], counts[:, audited])
        if online:
            counts |= inside
        rows, population = audited.nonzero()[:, 0], (~audited & counts.any(0)).nonzero()[:, 0]
        self._check_population(population, audited)
        used = torch.cat([rows, population])

        def log_p(logits: Tensor) -> Tensor:
            return log_probability(logits, signals.y, used, self.temperature)

        target = finite(log_p(signals.target.logits[0]), "the target")
        shadows = log_p(signals.shadows.logits[:, 0])
        for k, answers in enumerate(shadows):
            finite(answers, f"shadow {k}")
        known = _Known(shadows, counts[:, used], inside[:, rows], tested[:, rows])
        a = None if online else self._chosen(known)
        everyone = torch.ones((1, len(role)), dtype=torch.bool)
        answer = self._shares(target[None], known, everyone, a)
        score = spread(answer[0], signals)
        count = turns(len(role), len(rows))
        learnt = self._shares(
            known.log_p[:count], known, others(known.inside, known.outside, count), a
        )
        threshold = threshold_in_turn(learnt, known.inside, known.outside)
        return privaudit.AttackScores(score, None if threshold is None else score >= threshold)

    def _shares(self, target: Tensor, known: _Known, kept: Tensor, a: float | None) -> Tensor:
        """(T, n): the scores of targets whose log p is (T, n + Z); online if `a` is None."""
        typical = log_mean(known.log_p, known.counts, kept)
        ratio = target - (typical if a is None else log_from_outside(typical, a))
        size = known.inside.shape[1]
        return torch.stack([share_dominated(r[:size], r[size:], self.gamma) for r in ratio])

    def _chosen(self, known: _Known) -> float:
        """The number `a`, tuned on shadows where it is asked for; the smallest of equals."""
        if self.a != "tune":
            return self.a
        count = min(_TUNERS, len(known.log_p))
        kept = others(known.inside, known.outside, count)
        quality = []
        for a in _GRID:
            shares = self._shares(known.log_p[:count], known, kept, a)
            found = []
            for score, inside, outside in zip(shares, known.inside, known.outside, strict=False):
                scored = (inside | outside) & ~score.isnan()
                if len(inside[scored].unique()) == 2:
                    found.append(roc_auc(score[scored], inside[scored]).value)
            quality.append(sum(found) / len(found) if found else -1.0)
        if max(quality) < 0:
            raise privaudit.PrivauditError(
                "rmia tunes a on shadows with members and non-members among the audited examples, "
                "attacked by other shadows, and there are too few: set a to a number such as 0.33, "
                "or split.protocol to halves and shadows to 4 or more"
            )
        return _GRID[quality.index(max(quality))]

    def _online(self, inside: Tensor, outside: Tensor) -> bool:
        """Whether the mode is online, once there are shadows enough for it."""
        fewest_in, fewest_out = int(inside.sum(0).min()), int(outside.sum(0).min())
        setting = "set split.protocol to halves and shadows to 2 or more"
        if self.mode == "online" and min(fewest_in, fewest_out) == 0:
            raise privaudit.PrivauditError(
                "rmia with mode online needs a shadow that trained on each audited example and "
                f"one that did not, and an example lacks one among {len(inside)}: {setting}"
            )
        if fewest_out == 0:
            raise privaudit.PrivauditError(
                "rmia needs a shadow that did not train on each audited example, and an example "
                f"lacks it among {len(outside)}: {setting}"
            )
        return self.mode != "offline" and fewest_in > 0

    def _check_population(self, population: Tensor, audited: Tensor) -> None:
        below = f"set split.members below {int(audited.sum()) // 2}"
        if len(population) == 0:
            raise privaudit.PrivauditError(
                "rmia compares with a population of examples that are not audited, and there are "
                f"none: {below}, so that some are left"
            )
        if len(population) < _ENOUGH:
            warnings.warn(  # which Python shows once, however many targets there are
                f"rmia compares with a population of {len(population)}, too few for its AUC to "
                f"mean much: {below}, so that {_ENOUGH} or more are left",
                stacklevel=2,
            )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RMIA]
