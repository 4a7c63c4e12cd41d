"""SAMIA: self-attention over the classes' confidence and sensitivity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import batch_norm, gelu, layer_norm, relu

import privaudit
from privaudit.learning import Dropper
from privaudit_plugins.attacks._training import Kind, Weights, affine, learn_and_score, linear


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
    noise_optional: ClassVar[bool] = True
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
        return self.score_all([signals])[0]

    def score_all(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        """The same of several targets, whose networks are trained together.

        Raises:
            PrivauditError: as `score`.
        """
        for one in signals:
            if (one.target.noisy is None) != (one.shadows.noisy is None):
                raise privaudit.PrivauditError(
                    "the answers to noisy copies of the examples are missing, of the target or of "
                    "the shadows: give those of all, or none"
                )
        return learn_and_score(
            self.name, signals, features, SELF_ATTENTION, self.epochs, self.learning_rate
        )


def features(outputs: privaudit.Outputs, y: Tensor) -> Tensor:
    """Prediction, sensitivity E|p(x) − p(x + εu)|/ε of each class, and one-hot class.

    Without noisy copies all sensitivities are 0.

    Args:
        outputs: of one model, without the M axis: logits (Q, n, C), noisy (D, n, C).
        y: (n,) int64 labels.

    Returns:
        (n, 3C) float64: C numbers of each kind, kind by kind.
    """
    p = outputs.logits[0].double().softmax(-1)
    sensitivity = torch.zeros_like(p)
    if outputs.noisy is not None:
        for noisy in outputs.noisy:  # draw by draw: float64 copies of all of them are gigabytes
            sensitivity += (p - noisy.double().softmax(-1)).abs()
        sensitivity /= len(outputs.noisy) * outputs.noise_scale
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


def _together(weights: Weights, x: Tensor, drop: Dropper) -> Tensor:
    """What T networks of self-attention in training answer; their norms' statistics move."""
    count, size, features = x.shape
    mean, var = (weights[f"norm.running_{name}"].flatten() for name in ("mean", "var"))
    scale, shift = weights["norm.weight"].flatten(), weights["norm.bias"].flatten()
    side_by_side = x.transpose(0, 1).flatten(1)
    scaled = batch_norm(side_by_side, mean, var, scale, shift, training=True)
    kinds = scaled.view(size, count, 3, features // 3)
    tokens = kinds.permute(1, 0, 3, 2)  # (T, B, C, 3)
    seen = gelu(linear(weights, "embed.", tokens.flatten(1, 2)))  # (T, B·C, 64)
    for number in range(3):
        layer = f"encoder.layers.{number}."
        mixed = _attended(weights, f"{layer}self_attn.", seen, size, drop)
        seen = _normalised(weights, f"{layer}norm1.", seen + mixed)
        wide = drop(gelu(linear(weights, f"{layer}linear1.", seen)))
        wide = drop(linear(weights, f"{layer}linear2.", wide))
        seen = _normalised(weights, f"{layer}norm2.", seen + wide)
    hidden = linear(weights, "hidden.", seen.view(count, size, -1)).relu()
    return linear(weights, "output.", hidden)


def _attended(weights: Weights, name: str, x: Tensor, size: int, drop: Dropper) -> Tensor:
    """Self-attention with four heads over each of `size` examples' tokens: (T, B·C, 64)."""
    count, width = len(x), x.shape[-1]
    projected = affine(weights[f"{name}in_proj_weight"], weights[f"{name}in_proj_bias"], x)
    heads = projected.view(count, size, -1, 3, 4, width // 4)  # (T, B, C, 3, 4, 16)
    query, key, value = heads.permute(3, 0, 1, 4, 2, 5)
    attention = (query * (width // 4) ** -0.5 @ key.mT).softmax(-1)
    seen = (drop(attention) @ value).transpose(2, 3).flatten(3).flatten(1, 2)
    return drop(linear(weights, f"{name}out_proj.", seen))


def _normalised(weights: Weights, name: str, x: Tensor) -> Tensor:
    """T layers' norms of x (T, n, 64)."""
    scaled = layer_norm(x, x.shape[-1:])
    return torch.addcmul(weights[f"{name}bias"][:, None], scaled, weights[f"{name}weight"][:, None])


SELF_ATTENTION = Kind(SelfAttention, _together, dropout=0.2)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [SAMIA]
