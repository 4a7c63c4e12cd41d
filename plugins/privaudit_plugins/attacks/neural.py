"""Perceptrons that learn from the shadows' predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

import privaudit
from privaudit.learning import Dropper
from privaudit_plugins.attacks._training import Kind, Weights, learn_and_score, linear


class _Neural(privaudit.Attack):
    """What the three attacks share: all but what the perceptron sees.

    Layers of 512, 256 and 128 with dropout 0.2 after the first two, SGD with momentum 0.9, batches
    of 128 and weight decay 5e-4, as in the code published with the paper. Members weigh as much
    as non-members in its cross-entropy, however few they are. What they see are probabilities, as
    in the paper: of a network whose log-odds are all above 17 they are 1 and 0 to every digit of a
    float32, and these attacks say nothing where `confidence` still does.
    """

    paper: ClassVar[str] = (
        "Yuan & Zhang 2022, Membership inference attacks and defenses in neural network pruning"
    )
    shadows: ClassVar[int] = 1
    epochs: PositiveInt = Field(100, description="passes over the shadow examples")
    learning_rate: float = Field(
        1e-3,
        gt=0,
        allow_inf_nan=False,
        description="a tenth of it from half of the epochs, a hundredth from three quarters",
    )

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The member's logit minus the non-member's, of each audited example.

        Raises:
            PrivauditError: the shadows lack members or non-members, or a model answers NaN.
        """
        return self.score_all([signals])[0]

    def score_all(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        """The same of several targets, whose networks are trained together.

        Raises:
            PrivauditError: as `score`.
        """
        return learn_and_score(
            self.name, signals, self.features, PERCEPTRON, self.epochs, self.learning_rate
        )

    def features(self, outputs: privaudit.Outputs, y: Tensor) -> Tensor:
        """What the perceptron sees of one model's n examples, (n, F) float64."""
        raise NotImplementedError


class NN(_Neural):
    """A perceptron over the prediction, its classes in their order, learnt from the shadows."""

    name: Literal["nn"] = "nn"

    def features(self, outputs: privaudit.Outputs, y: Tensor) -> Tensor:
        """The prediction p, (n, C)."""
        return prediction(outputs)


class NNCls(_Neural):
    """A perceptron over prediction and class, learnt from the shadows."""

    name: Literal["nn_cls"] = "nn_cls"

    def features(self, outputs: privaudit.Outputs, y: Tensor) -> Tensor:
        """The prediction p and the one-hot class y, (n, 2C)."""
        p = prediction(outputs)
        return torch.cat([p, (y[:, None] == torch.arange(p.shape[1])).double()], dim=1)


class NNTop3(_Neural):
    """A perceptron over the three largest of the prediction, learnt from the shadows."""

    name: Literal["nn_top3"] = "nn_top3"

    def features(self, outputs: privaudit.Outputs, y: Tensor) -> Tensor:
        """The largest three of p, falling, (n, 3); both where there are two classes."""
        p = prediction(outputs)
        return p.topk(min(3, p.shape[1]), dim=1).values


def prediction(outputs: privaudit.Outputs) -> Tensor:
    """The softmax p (n, C), float64, of one model."""
    return outputs.logits[0].double().softmax(-1)


def perceptron(inputs: int) -> nn.Module:
    """512-256-128-2 for so many features, (n, F) to (n, 2)."""
    return nn.Sequential(
        nn.Linear(inputs, 512), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(256, 128), nn.ReLU(),
        nn.Linear(128, 2),
    )  # fmt: skip


def _together(weights: Weights, x: Tensor, drop: Dropper) -> Tensor:
    """What T perceptrons in training answer."""
    for layer in ("0.", "3."):
        x = drop(linear(weights, layer, x).relu())
    return linear(weights, "8.", linear(weights, "6.", x).relu())


PERCEPTRON = Kind(perceptron, _together, dropout=0.2)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [NN, NNCls, NNTop3]
