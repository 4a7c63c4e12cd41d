"""What the one-shot pruners share: train, prune once, fine-tune what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.sparsifiers._densities import ByDensity, label

Scope = Literal["global", "layer"]


class OneShot(ByDensity):
    """A pruner that prunes one trained network once for each density, and fine-tunes.

    Subclasses say in `prune` what goes. All levels start from the same trained network, which is
    that of its best validation epoch; so is each level after fine-tuning.
    """

    tunes: ClassVar[bool] = True

    scope: Scope = Field(
        "global", description="compare all candidates with each other, or those of each layer"
    )
    epochs: int | None = Field(None, ge=1, description="of fine-tuning; the recipe's if not given")
    lr: float | None = Field(
        None, gt=0, description="learning rate of fine-tuning; the recipe's if not given"
    )

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """Prune the trained networks, of which nothing is pruned yet."""
        raise NotImplementedError

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level for each density."""
        options: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        cohort.fit()
        cohort.rewind("best")
        cohort.save("trained")
        cohort.mark_original()
        for density in self.densities:
            cohort.rewind("trained")
            self.prune(cohort, density)
            cohort.fit(self.epochs, tune=True, **options)
            cohort.rewind("best")
            yield label(density)


def weakest(scores: Mapping[str, Tensor], density: float, scope: Scope) -> dict[str, Tensor]:
    """Which channels go so that the strongest stay, in every layer one at least.

    Args:
        scores: by layer, (M, channels).
        density: exactly round(density × channels) stay, unless that is fewer than there are
            layers to keep one in.
        scope: count and compare over all layers, or in each.

    Returns:
        By layer, (M, channels) bool; of equal scores the first stay.
    """
    groups = [list(scores)] if scope == "global" else [[name] for name in scores]
    gone: dict[str, Tensor] = {}
    for group in groups:
        ranked = torch.cat([_spared(scores[name]) for name in group], 1)
        stays = max(len(group), round(density * ranked.shape[1]))
        best = ranked.argsort(dim=1, descending=True, stable=True)[:, :stays]
        lost = torch.ones_like(ranked, dtype=torch.bool).scatter(1, best, False)
        parts = torch.split(lost, [scores[name].shape[1] for name in group], 1)
        gone |= dict(zip(group, parts, strict=True))
    return gone


def _spared(scores: Tensor) -> Tensor:
    """The best channel of each model comes first, whatever the other layers have."""
    return scores.scatter(1, scores.argmax(1, keepdim=True), torch.inf)
