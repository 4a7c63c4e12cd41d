"""The attacker who holds a sparse network and the dense one from which it was made."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._pool import measured, odds_of, spread
from privaudit_plugins.attacks._thresholds import best_threshold


class BothNetworks(privaudit.Attack):
    """A sparse network and the dense one from which it was made, asked about the same examples.

    Of each example the attacker knows the log-odds of the true class twice: φ under the dense
    network and φ' under the sparse one. With shadows, which are pairs as well, it learns how
    members lie in the plane (φ, φ - φ') by a logistic regression over all shadows. Without
    shadows it takes the mean of φ and φ'. The variants are the two scores that nothing has to be
    learned for, with shadows or without: `mean`, and `difference`, φ - φ', which asks what pruning
    has forgotten.
    """

    paper: ClassVar[str] = (
        "Li et al. 2025, CompLeak: deep learning model compression exacerbates privacy leakage "
        "(CompLeak_SR); the difference of scores is that of Jagielski et al. 2023, How to combine "
        "membership-inference attacks on multiple updated models; both outputs as features, that "
        "of Chen et al. 2021, When machine unlearning jeopardizes privacy"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Log-odds of the true class are combined, where CompLeak and Chen et al. give whole "
        "vectors of probabilities to a classifier: they do not round where networks are sure, and "
        "a few shadows are enough to learn from.",
        "Chen et al. and Jagielski et al. ask which examples were taken out or put in between two "
        "networks; here both have seen the same members, so that the difference alone may tell "
        "little, and the level of both is used as well.",
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

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The log-odds of membership as learned from shadows; without any, the mean of φ and φ'.

        Decisions are by the thresholds of best balanced accuracy over all shadows; without
        shadows there are none.

        Raises:
            PrivauditError: a network answers NaN, or there are no originals.
        """

        def measure(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            if outputs.original is None:
                raise privaudit.PrivauditError(
                    f"both_networks needs what the dense original of {whose} answers"
                )
            dense = odds_of(outputs.original, rows, signals.y, f"the original of {whose}")
            return torch.stack([dense, odds_of(outputs, rows, signals.y, whose)], 1)

        pair, pool = measured(signals, measure, labels=False)
        known, member = (None, None) if pool is None else (pool.value, pool.member)

        def answer(score: Tensor, learned: Tensor | None) -> privaudit.AttackScores:
            of_all = spread(score, signals)
            if learned is None or member is None:
                return privaudit.AttackScores(of_all)
            return privaudit.AttackScores(of_all, of_all >= best_threshold(learned, member))

        variants = {
            "mean": answer(pair.mean(1), None if known is None else known.mean(1)),
            "difference": answer(_difference(pair), None if known is None else _difference(known)),
        }
        main = variants["mean"]
        if known is not None and member is not None:
            main = answer(*self._learned(pair, known, member))
        return privaudit.AttackScores(main.score, main.decision, variants)

    def _learned(self, pair: Tensor, known: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of membership of the target's examples (n,) and of the shadows' (m,)."""
        # Here, because listing the plugins should not wait for scikit-learn.
        from sklearn import linear_model, pipeline, preprocessing

        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            linear_model.LogisticRegression(C=self.C, class_weight="balanced"),
        )
        model.fit(_features(known).numpy(), member.numpy())
        asked, seen = (model.decision_function(_features(v).numpy()) for v in (pair, known))
        return torch.from_numpy(asked), torch.from_numpy(seen)


def _difference(pair: Tensor) -> Tensor:
    """φ - φ' of pairs (n, 2)."""
    return pair[:, 0] - pair[:, 1]


def _features(pair: Tensor) -> Tensor:
    """(n, 2): φ, and how much of it the sparse network has lost."""
    return torch.stack([pair[:, 0], _difference(pair)], 1)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [BothNetworks]
