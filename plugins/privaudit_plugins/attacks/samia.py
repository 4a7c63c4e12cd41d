"""SAMIA: self-attention over the classes' confidence and sensitivity."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import gelu, relu

import privaudit
from privaudit_plugins.attacks._training import learn_and_score


class SAMIA(privaudit.Attack):
    """Self-attention over every class's confidence and sensitivity, learnt from the shadows.

    SGD with momentum 0.9, batches of 128 and weight decay 5e-4, as in the code published with the
    paper. Members weigh as much as non-members in its cross-entropy, however few they are. What it
    sees are probabilities, as in the paper, which are all 1 and 0 where a network is sure enough.
    """

    paper: ClassVar[str] = (
        "Yuan & Zhang 2022, Membership inference attacks and defenses in neural network pruning"
    )
    noise: ClassVar[int] = 10
    shadows: ClassVar[int] = 1
    name: Literal["samia"] = "samia"
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
            PrivauditError: the shadows lack members or non-members, there are no noisy answers,
                or a model answers NaN.
        """
        return learn_and_score(
            self.name, signals, features, SelfAttention, self.epochs, self.learning_rate
        )


def features(outputs: privaudit.Outputs, y: Tensor) -> Tensor:
    """Prediction, sensitivity E|p(x) − p(x + εu)|/ε of each class, and one-hot class.

    Args:
        outputs: of one model, without the M axis: logits (Q, n, C), noisy (D, n, C).
        y: (n,) int64 labels.

    Returns:
        (n, 3C) float64: C numbers of each kind, kind by kind.
    """
    if outputs.noisy is None:
        raise privaudit.PrivauditError(
            "the answers to noisy copies of the examples are missing, and samia's features need "
            "them: give `Outputs.noisy`"
        )
    p = outputs.logits[0].double().softmax(-1)
    moved = torch.zeros_like(p)
    for noisy in outputs.noisy:  # draw by draw: float64 copies of all of them are gigabytes
        moved += (p - noisy.double().softmax(-1)).abs()
    sensitivity = moved / (len(outputs.noisy) * outputs.noise_scale)
    own_class = (y[:, None] == torch.arange(p.shape[1])).double()
    return torch.cat([p, sensitivity, own_class], dim=1)


class SelfAttention(nn.Module):
    """BatchNorm, C tokens of 3 numbers, a transformer's encoder, and two linear layers.

    Args:
        inputs: 3C.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        width = 64
        self.norm = nn.BatchNorm1d(inputs)
        self.embed = nn.Linear(3, width)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=128, dropout=0.2, activation="gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=3)
        self.hidden = nn.Linear(width * (inputs // 3), width)
        self.output = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        """From (n, 3C), C numbers of each kind, to (n, 2)."""
        tokens = self.norm(x).unflatten(1, (3, -1)).mT  # (n, C, 3)
        encoded = self.encoder(gelu(self.embed(tokens)))  # (n, C, 64)
        logits: Tensor = self.output(relu(self.hidden(encoded.flatten(1))))
        return logits


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [SAMIA]
