"""Membership from predicted labels alone."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._pool import needed, on_shadows, on_target, predictions_of, spread


class LabelOnly(privaudit.Attack):
    """The more augmented copies of an example are classified right, the likelier a member.

    The paper's classifier reads one bit per copy: predicted right or not. Its copies are fixed
    shifts and turns; ours are shifts by a pixel and the mirror image, as far as the dataset allows
    them, and beyond that drawn as in training. The bits come down to two numbers: whether the
    example is right, and the share of its copies that are. A logistic regression weighs them.
    Only the predicted labels are looked at, so that a defense of the confidences changes nothing.

    For tables the paper perturbs the examples by noise as strong as suits the data. The noisy
    copies that attacks can ask for are made for derivatives, a thousandth of a standard
    deviation, and change no labels: a dataset without augmentation is an error here.
    """

    paper: ClassVar[str] = (
        "Choquette-Choo et al. 2021, Label-only membership inference attacks, "
        "the data augmentation attack"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Copies are shifts by a pixel and the mirror image, and drawn as in training where the "
        "dataset allows fewer than nine, where the paper's are shifts and turns of a distance that "
        "is tuned: so the attack reads the share of copies that are right, not one bit for each.",
        "Data without augmentation are refused, where the paper perturbs tables by noise: the "
        "noisy copies of the engine are too near to change labels.",
    )
    queries: ClassVar[int] = 10
    signals: ClassVar[frozenset[str]] = frozenset({"augmentation"})
    shadows: ClassVar[int] = 1
    answers: ClassVar[tuple[str, ...]] = ("predicted",)
    name: Literal["label_only"] = "label_only"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The log-odds of membership of each audited example, classes balanced by weights.

        Raises:
            PrivauditError: there are no augmented copies, the shadows lack members or
                non-members, or a model answers NaN.
        """
        # Here, because listing the plugins should not wait for scikit-learn.
        from sklearn.linear_model import LogisticRegression

        if len(signals.target.of("predicted", signals.audited.nonzero()[:1, 0], signals.y)) < 2:
            raise privaudit.PrivauditError(
                "label_only needs answers to augmented copies of the examples, and this dataset "
                "allows no augmentation: use `correctness`, which is all that one label tells"
            )

        def measure(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
            predicted = predictions_of(outputs, rows, signals.y, whose)
            right = (predicted == signals.y[rows]).double()  # (Q, n)
            return torch.stack([right[0], right[1:].mean(0)], dim=1)

        found = needed(self.name, signals, on_shadows(signals, measure))
        model = LogisticRegression(class_weight="balanced")
        model.fit(found.value.numpy(), found.member.numpy())
        answer = model.decision_function(on_target(signals, measure).numpy())
        score = spread(torch.from_numpy(answer), signals)
        return privaudit.AttackScores(score, score > 0)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [LabelOnly]
