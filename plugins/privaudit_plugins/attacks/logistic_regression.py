"""A logistic regression as the discriminator."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

import privaudit
from privaudit_plugins.attacks._features import shadow_features, target_features
from privaudit_plugins.attacks._pool import spread


class LogisticRegression(privaudit.Attack):
    """A linear discriminator of class, prediction and sensitivity, learnt from the shadows."""

    paper: ClassVar[str] = (
        "features of Gonon et al. 2023, Sparsity can improve privacy of neural networks, section 4"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The discriminator is a logistic regression, where the paper's are the perceptrons of "
        "`shadow_mlp`: it has nothing to choose and costs next to nothing.",
    )
    noise: ClassVar[int] = 5
    noise_optional: ClassVar[bool] = True
    shadows: ClassVar[int] = 1
    name: Literal["logistic_regression"] = "logistic_regression"
    C: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="the smaller, the stronger the L2 penalty"
    )
    max_iter: PositiveInt = Field(1000, description="most iterations of the solver (L-BFGS)")

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The log-odds of membership of each audited example, classes balanced by weights.

        Raises:
            PrivauditError: the shadows lack members or non-members, or a model answers NaN.
        """
        # Here, because listing the plugins should not wait for scikit-learn.
        from sklearn import linear_model, pipeline, preprocessing

        found, member = shadow_features(self.name, signals)
        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            linear_model.LogisticRegression(
                C=self.C, max_iter=self.max_iter, class_weight="balanced"
            ),
        )
        model.fit(found.numpy(), member.numpy())
        answer = model.decision_function(target_features(signals).numpy())
        score = spread(torch.from_numpy(answer), signals)
        return privaudit.AttackScores(score, score > 0)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [LogisticRegression]
