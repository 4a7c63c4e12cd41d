"""Quantile regression: how sure the target would be of each example, had it never seen it."""

from __future__ import annotations

from math import ceil
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

import privaudit
from privaudit.keys import derive
from privaudit_plugins.attacks._phi import finite_ends
from privaudit_plugins.attacks._pool import odds_of, spread
from privaudit_plugins.attacks._refusals import without_population

_UPPER = 0.75  # with the median it makes the unit; further out a few hundred rows know little
_SIDE = 8  # pixels


class Quantile(privaudit.Attack):
    """Confidence against the quantiles predicted for a non-member that looks the same.

    Two pinball regressions, for the median and the upper quartile, learn from population examples
    how the target's confidence φ depends on an example's own features and class. As the paper's
    Gaussian variant does with mean and deviation, their answers place every other quantile at
    median + z · (quartile - median); but z is measured on population examples that the
    regressions have not seen, where the paper takes it from the normal distribution. One run so
    gives every false positive rate, and without shadows.

    The regressions are boosted trees over the features, images averaged down to 8 × 8 pixels,
    where the paper fine-tunes a large vision network: on photographs this is a weaker attacker.
    The population is every example that is not audited. Validation and reference examples are in
    it: the target was not fitted to them, but its best epoch was chosen by the former, and a
    defense may have used the latter.
    """

    paper: ClassVar[str] = (
        "Bertran et al. 2023, Scalable membership inference attacks via quantile regression; "
        "calibration as in Romano et al. 2019, Conformalized quantile regression"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Quantiles are learnt by boosted trees over features or averaged pixels, where the "
        "paper fine-tunes a large vision network: weaker on photographs, and quick.",
        "How far out a score lies is measured on held-out examples, where the paper's "
        "Gaussian variant takes it from the normal distribution.",
    )
    signals: ClassVar[frozenset[str]] = frozenset({"x"})
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["quantile"] = "quantile"
    holdout: float = Field(
        0.3, gt=0, lt=1, description="share of the population that calibrates the quantiles"
    )
    fpr: float = Field(
        0.05, gt=0, lt=1, description="most non-members that the decision accuses, as a share"
    )

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """It learns from examples that are not audited."""
        return without_population(split)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """(φ - median) / (quartile - median) of each audited example.

        The decision accuses those above the calibrated quantile of level 1 - `fpr`; nobody where
        there are too few population examples to tell it, fewer than 1 / `fpr` to calibrate with.

        Raises:
            ShortageError: there are too few population examples.
            PrivauditError: the target answers NaN.
        """
        fit, held = self._population(signals)
        x = example_features(signals.x, signals.y, signals.target.classes)
        (phi,) = finite_ends(odds_of(signals.target, torch.arange(len(x)), signals.y, "the target"))
        audited = signals.audited.nonzero()[:, 0]
        asked = torch.cat([held, audited])
        middle, upper = (_regressed(x[fit], phi[fit], x[asked], q) for q in (0.5, _UPPER))
        unit = _unit(upper - middle)
        z = (phi[asked] - middle) / unit
        score = spread(z[len(held) :], signals)
        return privaudit.AttackScores(score, score > quantile_of(z[: len(held)], 1 - self.fpr))

    def _population(self, signals: privaudit.Signals) -> tuple[Tensor, Tensor]:
        """The rows to fit and those to calibrate with."""
        rows = (~signals.audited).nonzero()[:, 0]
        held = round(self.holdout * len(rows))
        if min(held, len(rows) - held) < 2:
            raise privaudit.ShortageError(
                f"quantile learns from examples that are not audited, at least 2 to fit and 2 to "
                f"calibrate with, but there are {len(rows)} in all",
                "population",
            )
        generator = torch.Generator().manual_seed(derive(signals.seed, self.name, "holdout"))
        order = rows[torch.randperm(len(rows), generator=generator)]
        return order[held:], order[:held]


def example_features(x: Tensor, y: Tensor, classes: int) -> Tensor:
    """What the regressions see: features or averaged pixels, then the class: (N, F) float32."""
    wide = x.float()
    if wide.ndim == 4 and min(wide.shape[2:]) > _SIDE:
        wide = adaptive_avg_pool2d(wide, _SIDE)
    return torch.cat([wide.flatten(1), (y[:, None] == torch.arange(classes)).float()], dim=1)


def quantile_of(values: Tensor, level: float) -> float:
    """What a new value of the same kind exceeds with probability at most 1 - `level`.

    The ⌈level · (n + 1)⌉-th smallest of n values (Romano et al. 2019, equation 8); infinite where
    there is no such value.
    """
    place = ceil(round(level * (len(values) + 1), 9))  # 0.95 · 20 is 19, whatever its last bit
    return float(values.sort().values[place - 1]) if place <= len(values) else torch.inf


def _regressed(x: Tensor, phi: Tensor, asked: Tensor, level: float) -> Tensor:
    """The conditional quantile, learnt from x (n, F) and φ (n,), for the features asked."""
    # Here, because listing the plugins should not wait for scikit-learn.
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(
        loss="quantile", quantile=level, learning_rate=0.05, early_stopping=False, random_state=0
    )
    trees.fit(x.numpy(), phi.numpy())
    return torch.from_numpy(trees.predict(asked.numpy()))


def _unit(gap: Tensor) -> Tensor:
    """Gaps between two quantiles, but none so small, or crossed, that it rules the score."""
    return gap.clamp(min=max(float(gap.median()) / 4, 1e-6))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Quantile]
