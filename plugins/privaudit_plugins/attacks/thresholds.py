"""One number of a prediction against a threshold that the shadows choose.

The five metric attacks that Yuan & Zhang compare. Every number is taken in a monotone scale in
which it neither rounds nor saturates (`_log_space`), so no probability is clamped at 1e-30 as in
the papers' code. Scores are the distance from the threshold of the example's class in that scale:
examples of different classes compare, and the verdict is score ≥ 0.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._log_space import log_entropy, log_modified_entropy, log_odds
from privaudit_plugins.attacks._pool import (
    Pool,
    logits_of,
    measured,
    needed,
    predictions_of,
    spread,
)
from privaudit_plugins.attacks._thresholds import best_threshold


class _Threshold(privaudit.Attack):
    """A number of each prediction, and where the shadows say that members begin."""

    shadows: ClassVar[int] = 1
    per_class: ClassVar[bool] = True

    def signal(self, logits: Tensor, y: Tensor) -> Tensor:
        """The number (n,), higher = likelier a member, of logits (n, C) float64 and labels (n,)."""
        raise NotImplementedError

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """How far each example lies above its threshold; a member from 0 on.

        Raises:
            PrivauditError: the shadows lack members or non-members, or a model answers NaN.
        """

        def measure(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            return self.signal(logits_of(outputs, rows, whose), signals.y[rows])

        values, pool = measured(signals, measure)
        found = needed(self.name, signals, pool)
        limit: Tensor | float = best_threshold(found.value, found.member)
        if self.per_class:
            classes = signals.target.classes
            limit = class_thresholds(found, classes)[signals.y[signals.audited]]
        score = spread(values - limit, signals)
        return privaudit.AttackScores(score, score >= 0)


def class_thresholds(found: Pool, classes: int) -> Tensor:
    """The threshold of best balanced accuracy of each class, (C,).

    A class of which the shadows have no members or no non-members takes the threshold of all
    classes together. Sorting dominates: O(n log n) for all of them.
    """
    order = found.y.argsort(stable=True)
    sizes = found.y.bincount(minlength=classes).tolist()
    overall = best_threshold(found.value, found.member)
    limits = [
        best_threshold(value, member) if 0 < int(member.sum()) < len(member) else overall
        for value, member in zip(
            torch.split(found.value[order], sizes),
            torch.split(found.member[order], sizes),
            strict=True,
        )
    ]
    return torch.tensor(limits, dtype=torch.float64)


class Confidence(_Threshold):
    """The surer of the true class, the likelier a member; one threshold per class.

    Where the shadows lack members or non-members of a class, its threshold is that of all classes.
    The confidence p_y is compared as log p_y - log(1 - p_y).
    """

    paper: ClassVar[str] = "Song & Mittal 2021; Yuan & Zhang 2022, pruning and privacy, section 4"
    name: Literal["confidence"] = "confidence"

    def signal(self, logits: Tensor, y: Tensor) -> Tensor:
        """The log-odds of the true class, log p_y - log(1 - p_y)."""
        return log_odds(logits).gather(-1, y[:, None])[:, 0]


class Entropy(_Threshold):
    """The lower the entropy of the prediction, the likelier a member; one threshold per class.

    Where the shadows lack members or non-members of a class, its threshold is that of all classes.
    The entropy H is compared as -log H.
    """

    paper: ClassVar[str] = "Song & Mittal 2021; Yuan & Zhang 2022, pruning and privacy, section 4"
    deviations: ClassVar[tuple[str, ...]] = (
        "Numbers are compared by logarithms that never round, where the authors' code clamps "
        "probabilities at 1e-30, which makes examples equal where a network is sure.",
    )
    name: Literal["entropy"] = "entropy"

    def signal(self, logits: Tensor, y: Tensor) -> Tensor:
        """Minus the logarithm of -Σ p_i log p_i."""
        return -log_entropy(logits)


class ModifiedEntropy(_Threshold):
    """The lower the entropy with regard to the true class, the likelier a member.

    Unlike entropy it is high where the network is sure and wrong. One threshold per class; where
    the shadows lack members or non-members of a class, its threshold is that of all classes.
    The modified entropy H is compared as -log H.
    """

    paper: ClassVar[str] = "Song & Mittal 2021; Yuan & Zhang 2022, pruning and privacy, section 4"
    deviations: ClassVar[tuple[str, ...]] = (
        "Numbers are compared by logarithms that never round, where the authors' code clamps "
        "probabilities at 1e-30, which makes examples equal where a network is sure.",
    )
    name: Literal["modified_entropy"] = "modified_entropy"

    def signal(self, logits: Tensor, y: Tensor) -> Tensor:
        """Minus the logarithm of -(1 - p_y) log p_y - Σ_{i≠y} p_i log(1 - p_i)."""
        return -log_modified_entropy(logits, y)


class Top1Confidence(_Threshold):
    """The surer of the predicted class, right or wrong, the likelier a member; one threshold.

    The confidence max p is compared as log p - log(1 - p). The published code of Yuan & Zhang
    takes the true class's p_y here; that, with a threshold per class, is `confidence`.
    """

    paper: ClassVar[str] = "Salem et al. 2019, ML-Leaks; Yuan & Zhang 2022, section 4"
    deviations: ClassVar[tuple[str, ...]] = (
        "The likeliest class's confidence is compared, as in the papers, where the code of "
        "Yuan & Zhang takes the true class's, which is `confidence` with one threshold.",
    )
    per_class: ClassVar[bool] = False
    name: Literal["top1_confidence"] = "top1_confidence"

    def signal(self, logits: Tensor, y: Tensor) -> Tensor:
        """The log-odds of the likeliest class, log max p - log(1 - max p)."""
        return log_odds(logits).amax(-1)


class Correctness(privaudit.Attack):
    """Who is classified right is called a member: the gap attack, which needs no shadows."""

    paper: ClassVar[str] = "Yeom et al. 2018; Yuan & Zhang 2022, pruning and privacy, section 4"
    verdicts: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("predicted",)
    name: Literal["correctness"] = "correctness"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """1 where the target predicts the true class, 0 where it does not.

        Raises:
            PrivauditError: the target answers NaN.
        """
        rows = signals.audited.nonzero()[:, 0]
        predicted = predictions_of(signals.target, rows, signals.y, "the target")[0]
        score = spread(predicted == signals.y[rows], signals)
        return privaudit.AttackScores(score, score == 1)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [Confidence, Entropy, ModifiedEntropy, Top1Confidence, Correctness]
