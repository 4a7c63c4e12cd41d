"""The attacker who holds several compressed versions of a network, and perhaps the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

import privaudit
from privaudit.learning import Dropper
from privaudit_plugins.attacks._training import Kind, Weights, learn_and_score, linear

_MOST = 745.0
"""The loss of a probability of 0: a little more than that of the smallest float64 above it."""


class CompLeak(privaudit.Attack):
    """Every version of a network that is out by now, asked about the same examples.

    The versions are the dense original, where there is one, the levels that were reached before,
    and this level. A network learns from the shadows' versions. It sees the prediction of each
    version, with the classes in rising order of the first one's, which of them is the label's, and
    each version's loss. The variant `alone` learns in the same way from this level by itself: what
    `compleak` finds beyond it is what holding the others tells.

    Of one compressed network and its original this is CompLeak_SR, of several CompLeak_MR, and
    `alone` is CompLeak_NR. At the last level of a sparsifier the attacker holds all of them.
    """

    paper: ClassVar[str] = (
        "Li et al. 2026, CompLeak: deep learning model compression exacerbates privacy leakage, "
        "with the code that its authors published"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "For several versions the authors' code first learns a random forest from each compressed "
        "version and the original, and gives the forests' probabilities to a network, of shadow "
        "examples those that a forest has learned by heart. Here the network sees what the forests "
        "do: the predictions.",
        "The authors' code keeps the epoch that does best on the target; here it is the last.",
        "Features are standardised by the shadows' mean and standard deviation, which the authors' "
        "code does for its logistic regression alone: on Location-30 raw losses hide the rest.",
        "The learning rate falls in two steps, not by a cosine, and members weigh as much as "
        "non-members, however few they are.",
        "Without an original the order of the classes is that of the first level.",
        "A sparsifier's levels are taken in their order: an attack on one sees those before it.",
    )
    signals: ClassVar[frozenset[str]] = frozenset({"versions"})
    shadows: ClassVar[int] = 1
    name: Literal["compleak"] = "compleak"
    original: bool = Field(
        True,
        description="whether the attacker holds the dense original, too; without it, a level that "
        "has none before it is attacked alone",
    )
    epochs: PositiveInt = Field(100, description="passes over the shadow examples")
    learning_rate: float = Field(
        1e-2,
        gt=0,
        allow_inf_nan=False,
        description="a tenth of it from half of the epochs, a hundredth from three quarters",
    )

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The member's logit minus the non-member's, of each audited example.

        Raises:
            PrivauditError: the shadows lack members or non-members, or a version answers NaN.
        """
        return self.score_all([signals])[0]

    def score_all(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        """The same of several targets, whose networks are trained together.

        Raises:
            PrivauditError: as `score`.
        """
        every = self._learned([_holding(one, original=self.original) for one in signals])
        alone = self._learned([_holding(one, original=False, levels=False) for one in signals])
        return [
            replace(scores, variants={"alone": other})
            for scores, other in zip(every, alone, strict=True)
        ]

    def _learned(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        counts = [1 + len(one.target.versions) for one in signals]
        if len(set(counts)) > 1:  # never of targets at one level
            return [scores for one in signals for scores in self._learned([one])]
        predictions = (1 + counts[0]) * signals[0].target.logits.shape[-1]
        kind = two_parts(predictions, counts[0])
        return learn_and_score(
            self.name, signals, features, kind, self.epochs, self.learning_rate, standardised=True
        )


def features(outputs: privaudit.Outputs, y: Tensor) -> Tensor:
    """What the network sees of n examples: V versions' predictions, the label, V losses.

    Args:
        outputs: of one model, without the M axis, with its other versions.
        y: (n,) int64 labels.

    Returns:
        (n, (V + 1)C + V) float64: for each version p, then the one-hot label, all with the classes
        in rising order of the first version's p; then -log p_y of each version.
    """
    versions = [*outputs.versions.values(), outputs]
    log_p = [version.logits[0].double().log_softmax(-1) for version in versions]
    order = log_p[0].argsort(dim=-1, stable=True)
    predictions = [one.exp().gather(1, order) for one in log_p]
    label = (order == y[:, None]).double()
    losses = [-one.gather(1, y[:, None]).clamp(min=-_MOST) for one in log_p]
    return torch.cat([*predictions, label, *losses], 1)


class TwoParts(nn.Module):
    """Predictions and losses through a part of their own, then both through a third.

    Args:
        predictions: how many of the features come first.
        losses: how many follow.
    """

    def __init__(self, predictions: int, losses: int) -> None:
        super().__init__()
        self.first = predictions
        self.predictions, self.losses = _part(predictions), _part(losses)
        self.both = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(128, 256), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(256, 128), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(128, 64), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """From (n, F) to (n, 2)."""
        parts = self.predictions(x[:, : self.first]), self.losses(x[:, self.first :])
        logits: Tensor = self.both(torch.cat(parts, 1))
        return logits


def two_parts(predictions: int, losses: int) -> Kind:
    """The authors' network for so many features of either kind."""

    def together(weights: Weights, x: Tensor, drop: Dropper) -> Tensor:
        ends = []
        for name, seen in zip(
            ("predictions.", "losses."), (x[..., :predictions], x[..., predictions:]), strict=True
        ):
            hidden = drop(linear(weights, f"{name}0.", seen).relu())
            ends.append(linear(weights, f"{name}3.", hidden))
        both = drop(torch.cat(ends, -1))
        for layer in ("both.1.", "both.4.", "both.7."):
            both = drop(linear(weights, layer, both).relu())
        return linear(weights, "both.10.", both)

    return Kind(lambda inputs: TwoParts(predictions, losses), together, dropout=0.5)


def _part(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 64))


def _holding(
    signals: privaudit.Signals, *, original: bool, levels: bool = True
) -> privaudit.Signals:
    """The signals of an attacker who lacks the original, or the levels before."""

    def held(outputs: privaudit.Outputs) -> privaudit.Outputs:
        versions = outputs.versions.items()
        wanted = {n: one for n, one in versions if (original if n == "original" else levels)}
        return outputs.changed(versions=wanted)

    return replace(signals, target=held(signals.target), shadows=held(signals.shadows))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [CompLeak]
