"""The attacker who holds a sparse network and the dense one from which it was made."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._log_space import log_softplus
from privaudit_plugins.attacks._phi import finite_ends
from privaudit_plugins.attacks._pool import judged, odds_of
from privaudit_plugins.attacks._refusals import without_shadows
from privaudit_plugins.attacks._rows import RowShadows, need_some, row_scores, row_shadows
from privaudit_plugins.attacks._thresholds import best_threshold

_LACKS = "a shadow that was neither trained nor tuned on them"


class BothNetworks(privaudit.Attack):
    """A sparse network and the dense one from which it was made, asked about the same examples.

    Of each example the attacker knows the log-odds of the true class twice: φ under the dense
    network and φ' under the sparse one. Without shadows its score is the mean of the two. Shadows
    are pairs as well; with them, it compares the logarithm of each network's loss with that of the
    shadows without the example, as `reference` does of one network, and learns by a logistic
    regression how much either comparison counts. Two variants need nothing learned, with shadows
    or without: `mean` of φ and φ', and `difference`, φ - φ', which asks what pruning has forgotten.

    Whether both tell more than the better of the two is open: on digits, with eight shadows, the
    difference was within the noise, and without shadows the mean told no more than one of them.
    """

    paper: ClassVar[str] = (
        "Li et al. 2025, CompLeak: deep learning model compression exacerbates privacy leakage "
        "(CompLeak_SR); the difference of scores is that of Jagielski et al. 2023, How to combine "
        "membership-inference attacks on multiple updated models; calibration by shadows without "
        "the example that of Watson et al. 2022"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Two numbers of each example are combined, calibrated one by one, where CompLeak gives "
        "vectors of probabilities of both networks to a classifier: they do not round where "
        "networks are sure, and few shadows are enough to learn from.",
        "Jagielski et al. ask which examples came in between two networks, whose scores only "
        "their difference tells; here both have seen the same members, and the difference alone "
        "tells little: it is a variant.",
        "Without shadows the two log-odds are averaged, of which no paper speaks.",
    )
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    signals: ClassVar[frozenset[str]] = frozenset({"original"})
    name: Literal["both_networks"] = "both_networks"
    C: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="of what is learned from shadows: the smaller, the stronger the L2 penalty",
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """Where there are shadows, each example wants one that was not trained on it."""
        return without_shadows(split, shadows) if shadows else None

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The log-odds of membership as learned from shadows; without any, the mean of φ and φ'.

        What is learned comes from each shadow in turn, scored against the others; with too few for
        that (one, or of `halves` two), both comparisons count alike, and there is no decision.
        Examples without a shadow that has not seen them are left out. Decisions of the variants
        are by the threshold of best balanced accuracy over all shadows.

        Raises:
            ShortageError: there are shadows, and no audited example has one without it.
            PrivauditError: a network answers NaN, or there are no originals.
        """

        def mean(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            return _pair(outputs, rows, signals.y, whose).mean(1)

        def difference(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            dense, sparse = finite_ends(*_pair(outputs, rows, signals.y, whose).unbind(1))
            return dense - sparse

        variants = {"mean": judged(signals, mean), "difference": judged(signals, difference)}
        main = self._against_shadows(signals) if len(signals.shadow_role) else variants["mean"]
        return privaudit.AttackScores(
            main.score, main.decision, variants, left_out=main.left_out, lacks=main.lacks
        )

    def _against_shadows(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        role = signals.shadow_role
        tested = (role == privaudit.Role.MEMBER) | (role == privaudit.Role.NON_MEMBER)
        shadows = row_shadows(signals, signals.audited | tested.any(0))
        judged = signals.audited[shadows.rows]
        scorable = shadows.having(outside=1)
        need_some(self.name, scorable[judged], _LACKS)
        asked, y = shadows.rows[judged], signals.y
        target = _pair(signals.target, asked, y, "the target")
        sure = torch.stack(
            [
                _pair(signals.shadows[k], shadows.rows, y, f"shadow {k}")
                for k in range(len(signals.shadow_role))
            ]
        )
        target, sure = (-log_softplus(-values) for values in finite_ends(target, sure))

        count, total = shadows.outside.sum(0), (sure * shadows.outside[..., None]).sum(0)
        above = target - (total / count[:, None])[judged]  # (n, 2)
        rest, learnable = _others(shadows)
        usual = (total - sure * shadows.outside[..., None]) / rest[..., None]
        known, member = (sure - usual)[learnable], shadows.inside[learnable]
        score, threshold = above.mean(1), None
        if 0 < int(member.sum()) < len(member):
            score, learned = self._learned(above, scorable[judged], known, member)
            threshold = best_threshold(learned, member)
        return row_scores(signals, score, threshold, scorable=scorable[judged], lacks=_LACKS)

    def _learned(
        self, above: Tensor, scorable: Tensor, known: Tensor, member: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-odds of membership of the target's examples (n,) and of the shadows' (m,)."""
        # Here, because listing the plugins should not wait for scikit-learn.
        from sklearn import linear_model, pipeline, preprocessing

        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            linear_model.LogisticRegression(C=self.C, class_weight="balanced"),
        )
        model.fit(known.numpy(), member.numpy())
        whole = above.where(scorable[:, None], 0.0)  # what is not scored is left out all the same
        asked, seen = (model.decision_function(v.numpy()) for v in (whole, known))
        return torch.from_numpy(asked), torch.from_numpy(seen)


def _pair(outputs: privaudit.Outputs, rows: Tensor, y: Tensor, whose: str) -> Tensor:
    """The log-odds of the true class (n, 2), under the dense network and under the sparse one."""
    if outputs.original is None:
        raise privaudit.PrivauditError(
            f"both_networks needs what the dense original of {whose} answers"
        )
    dense = odds_of(outputs.original, rows, y, f"the original of {whose}")
    return torch.stack([dense, odds_of(outputs, rows, y, whose)], 1)


def _others(shadows: RowShadows) -> tuple[Tensor, Tensor]:
    """(K, n): how many other shadows lack an example, and where that lets one learn from it."""
    rest = shadows.outside.sum(0) - shadows.outside.int()
    return rest, (shadows.inside | shadows.tested) & (rest > 0)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [BothNetworks]
