"""The likelihood ratio attack."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._in_turn import attacked_in_turn
from privaudit_plugins.attacks._lira import Shadows, likelihood_ratios
from privaudit_plugins.attacks._pool import odds_of_all
from privaudit_plugins.attacks._refusals import without_members, without_shadows
from privaudit_plugins.attacks._rows import RowShadows, need_some, row_scores, row_shadows

_EACH = 2  # shadows on each side of an example: fewer have no variance
_MANY = 64  # shadows on each side from which on the paper's variances are per example


class LikelihoodRatio(privaudit.Attack):
    """What `lira` and `lira_augmented` share: everything but the number of queries."""

    paper: ClassVar[str] = (
        "Carlini et al. 2022, Membership inference attacks from first principles, algorithm 1"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The Gaussian of several queries has a diagonal covariance, as in the authors' code, "
        "where the paper fits the vector of all queries: that takes more shadows than "
        "queries.",
        "A global variance is that within examples, one for shadows with and one for those "
        "without them, where the authors' code takes one of all values, between examples, "
        "too.",
    )
    shadows: ClassVar[int] = _EACH
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    mode: Literal["auto", "online", "offline"] = Field(
        "auto",
        description="online: shadows with the example against shadows without; offline: only "
        "those without; auto: online where most examples have both, and those that lack the "
        "former take their Gaussian from all examples",
    )
    variance: Literal["auto", "per_example", "global"] = Field(
        "auto",
        description="one variance for each example, which takes 2 shadows on each side, or one "
        "for all, which takes 1; auto: per_example where each example has 64 on each side",
    )
    center: Literal["mean", "median"] = Field("mean", description="of each Gaussian")

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """With halves, half the shadows trained on an example; with disjoint, none did."""
        if split.protocol == "halves" and shadows < 2 * _EACH:
            return f"needs {2 * _EACH} shadows with split.protocol halves: raise shadows"
        least = _EACH if self.variance == "per_example" else 1
        inside = least if self.mode == "online" else 0
        return (without_members(split, "mode online") if inside else None) or without_shadows(
            split, shadows, inside=inside, outside=least
        )

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Online log N(φ; in) - log N(φ; out), offline log Pr[N(out) < φ], summed over queries.

        Offline, of a sum S of log-probabilities the score is -log(-S), which has the same order.
        An example's in-shadows are those it is a member of, its out-shadows those it is a
        non-member of or had no part in. Each example is scored by the shadows that it has: one
        without out-shadows is left out; one without in-shadows is reported as offline, though in
        mode auto it has a likelihood ratio like the others (`likelihood_ratios`, `pooled`), and
        in mode online it is left out, too. The decision's threshold is the one of best balanced
        accuracy when shadows are the target in turn, attacked by the others in the same way;
        there is none where the others are too few, such as two pairs of shadows.

        Raises:
            ShortageError: no example has shadows enough.
            PrivauditError: a model's φ is NaN: it answers NaN or infinity.
        """
        shadows = row_shadows(signals)
        per_example = self._per_example(shadows)
        least = _EACH if per_example else 1
        online = self._online(shadows, least)
        needs_both = online and self.mode == "online"
        scorable = shadows.having(inside=least if needs_both else 0, outside=least)
        self._need(shadows, scorable, online, least)
        phi = odds_of_all(signals, shadows.rows)

        def attack(targets: Tensor, kept: Tensor) -> Tensor:
            return likelihood_ratios(
                targets,
                Shadows(phi[1:], shadows.inside, shadows.outside, kept),
                online=online,
                per_example=per_example,
                center=self.center,
                pooled=online and not needs_both,
            )

        score, threshold = attacked_in_turn(attack, phi, shadows.inside, shadows.tested)
        return row_scores(
            signals,
            score,
            threshold,
            scorable=scorable,
            lacks=_lacks(least, needs_both),
            offline=~shadows.having(inside=least) if online else None,
        )

    def _per_example(self, shadows: RowShadows) -> bool:
        if self.variance != "auto":
            return self.variance == "per_example"
        within = shadows.having(inside=1).any() and self.mode != "offline"
        return bool(shadows.having(inside=_MANY if within else 0, outside=_MANY).all())

    def _online(self, shadows: RowShadows, least: int) -> bool:
        """Whether in-shadows are used: in mode auto, where most examples have some."""
        if self.mode != "auto":
            return self.mode == "online"
        scorable = shadows.having(outside=least)
        both = shadows.having(inside=least, outside=least)
        enough = 2 * int(both.sum()) >= int(scorable.sum())
        return enough and bool(shadows.having(inside=_EACH).any())

    def _need(self, shadows: RowShadows, scorable: Tensor, online: bool, least: int) -> None:
        """Refuse where no example is scorable, or none shows how far shadows scatter."""
        need_some(self.name, scorable, _lacks(least, online and self.mode == "online"))
        for side in ("inside", "outside") if online else ("outside",):
            need_some(self.name, shadows.having(**{side: _EACH}), _lacks(_EACH, side == "inside"))


def _lacks(least: int, both: bool) -> str:
    """What examples lack, if they need so many shadows without them, or also with them."""
    if least == 1:
        return "a shadow that was not trained on them" + both * ", or one that was"
    return f"{least} shadows that were not trained on them" + both * f", or {least} that were"


class LiRA(LikelihoodRatio):
    """How much likelier the model's confidence is with the example in its training data."""

    name: Literal["lira"] = "lira"


class LiRAAugmented(LikelihoodRatio):
    """LiRA with 18 queries for each example: mirrored or not, shifted by -1, 0 or 1 pixel each way.

    Where the dataset allows no mirroring or no shifts there are fewer such queries; the rest of
    the 18 are drawn as augmentations are in training.
    """

    deviations: ClassVar[tuple[str, ...]] = (
        *LikelihoodRatio.deviations,
        "Shifts move a black border in, as in training here, where the authors' code mirrors the "
        "image at its edge.",
    )
    queries: ClassVar[int] = 18
    name: Literal["lira_augmented"] = "lira_augmented"


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [LiRA, LiRAAugmented]
