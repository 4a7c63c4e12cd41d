"""What RMIA's attacker knows of each example, and the ratios that follow: online, or guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from privaudit.reductions import blocks
from privaudit_plugins.attacks._in_turn import others
from privaudit_plugins.attacks._rmia import (
    guessed_from_outside,
    log_mean,
    log_ratio,
    mean_probability,
    mid_ranks,
)

Mode = Literal["auto", "online", "offline"]


@dataclass(frozen=True)
class Known:
    """K shadows and m examples: n that are audited and, after them, the population.

    Attributes:
        inside: (K, m) bool: the shadows' members.
        outside: (K, m) bool: who was neither trained nor tuned on an example.
        tested: (K, n) bool: the shadows' non-members among the audited.
        mode: of the attack.
    """

    inside: Tensor
    outside: Tensor
    tested: Tensor
    mode: Mode

    @property
    def members(self) -> Tensor:
        """(K, n) bool: the shadows' members among the audited."""
        return self.inside[:, : self.tested.shape[1]]

    def turns(self, count: int) -> Tensor:
        """(T, K) bool: who serves when each of the first `count` shadows is the target."""
        return others(self.members, self.tested, count)

    def rows(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Which examples an attacker with these shadows can score, and for which it guesses P.

        An example is scored online where it has shadows on both sides, unless the mode is
        offline; with none that was trained on it, P is guessed from the others, unless the mode
        is online. The population has no shadows inside as a rule: P is the mean over whoever
        there is, or is guessed where that of every audited example is.

        Args:
            kept: (T, K) bool.

        Returns:
            (T, m) bool each.
        """
        sides = (self.inside, self.outside)
        has_inside, has_outside = (_any_kept(side, kept) for side in sides)
        size = self.tested.shape[1]
        guessed = ~has_inside if self.mode == "auto" else torch.zeros_like(has_inside)
        if self.mode == "offline":
            guessed = torch.ones_like(has_inside)
        guessed[:, size:] = (guessed | ~has_outside)[:, :size].all(1, keepdim=True)
        scored = has_outside
        if self.mode == "online":
            scored = has_outside & has_inside
        scored[:, size:] = has_outside[:, size:]
        return scored, guessed

    def ratios(
        self, target: Tensor, shadows: Tensor, kept: Tensor, guesses: Sequence[float]
    ) -> list[Tensor]:
        """Log p / P of each target, (T, m) float64; NaN where an example cannot be scored.

        Args:
            target: (T, m) float64: the targets' log-odds.
            shadows: (K, m) float64: the shadows' log-odds.
            kept: (T, K) bool: whom each target's attacker has.
            guesses: the values of `a`, for P where it is guessed; one answer for each.
        """
        scored, guessed = self.rows(kept)
        ratio = torch.full_like(target, torch.nan)
        if not bool(guessed.all()):
            everyone = mean_probability(shadows, self.inside | self.outside, kept)
            ratio = log_ratio(target, everyone)
        if not bool(guessed.any()):
            return [ratio.where(scored, torch.nan)] * len(guesses)
        without = mean_probability(shadows, self.outside, kept)
        return [
            torch.where(guessed, log_ratio(target, guessed_from_outside(without, a)), ratio).where(
                scored, torch.nan
            )
            for a in guesses
        ]

    def fitted(self, shadows: Tensor) -> float | None:
        """The `a` of 1 - P_in = a·(1 - P_out), over the audited examples that show both.

        The paper's guess of P_in, as the ratio of the two means: it rises with the temperature.

        Args:
            shadows: (K, m) float64: the shadows' log-odds.

        Returns:
            None where no example has a shadow on either side.
        """
        size = self.tested.shape[1]
        sides = [side[:, :size] for side in (self.inside, self.outside)]
        both = sides[0].any(0) & sides[1].any(0)
        if not bool(both.any()):
            return None
        everyone = torch.ones((1, len(shadows)), dtype=torch.bool)
        inside, outside = (
            log_mean(logsigmoid(-shadows[:, :size][:, both]), side[:, both], everyone).logsumexp(1)
            for side in sides
        )
        return min(1.0, float((inside - outside).exp()))


def _any_kept(side: Tensor, kept: Tensor) -> Tensor:
    """(T, m) bool: whether any of the shadows kept (T, K) is on a side (K, m) of an example."""
    weight = kept.double()
    found = torch.empty((len(kept), side.shape[1]), dtype=torch.bool)
    for block in blocks(side.shape[1], len(side) + len(kept)):
        found[:, block] = weight @ side[:, block].double() > 0
    return found


def quality(ratio: Tensor, known: Known) -> float | None:
    """The mean AUC of shadows as targets, whose log-ratios of n examples are (T, n).

    Returns:
        None where no shadow has both members and non-members among the examples with a ratio.
    """
    found = []
    for values, inside, tested in zip(ratio, known.members, known.tested, strict=False):
        scored = (inside | tested) & ~values.isnan()
        member = inside[scored]
        if len(member.unique()) == 2:
            rank = mid_ranks(values[scored])
            found.append(float(rank[member].mean() - rank[~member].mean()) + 0.5)
    return sum(found) / len(found) if found else None
