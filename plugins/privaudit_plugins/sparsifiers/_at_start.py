"""What pruning at initialisation shares: prune what is untrained, then train what is left."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from math import prod

import torch
from pydantic import Field
from torch import Tensor, nn

import privaudit
from privaudit.keys import derive, uniform
from privaudit_plugins.sparsifiers._densities import ByDensity, label

_log = logging.getLogger(__name__)


class AtStart(ByDensity):
    """A pruner of networks that have seen no training: sparsity without a trained weight.

    Subclasses say in `prune` what goes. Candidates are weights of two and more axes, as with
    `l1_unstructured`, but no embeddings, whose rows few examples use; all of them are compared
    with each other, and exactly round(density × candidates) stay. What stays is trained by the
    recipe's schedule, once for each density, and its best validation epoch is audited.
    """

    shuffle: bool = Field(
        False,
        description="shuffle the chosen weights within each layer, which leaves each layer its "
        "share: the control of Frankle et al. 2021",
    )

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """Prune a cohort that is untrained, and of which nothing is pruned yet."""
        raise NotImplementedError

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level for each density.

        All are pruned before the first is trained, so that a plan knows their masks.

        Raises:
            RecipeError: the network has nothing to prune.
        """
        if not candidates(cohort):
            raise privaudit.RecipeError(
                f"{self.name}: this network has no weight of two axes outside of embeddings: "
                "choose another model, or leave the sparsifier out"
            )
        cohort.save("untrained")
        for density in self.densities:
            cohort.rewind("untrained")
            pruned = cohort.fork()
            self.prune(pruned, density)
            masks = self._masks(pruned)
            self._warn_of_empty_layers(masks, density)
            cohort.prune_where({n: ~mask for n, mask in masks.items()})
            cohort.save(label(density))
        for density in self.densities:
            cohort.rewind(label(density))
            cohort.fit()
            cohort.rewind("best")
            yield label(density)

    def _masks(self, cohort: privaudit.Cohort) -> dict[str, Tensor]:
        """Which weights stay, (M, *shape) bool by name."""
        masks = {n: mask for n, mask in cohort.masks.items() if n in candidates(cohort)}
        return _shuffled(masks, cohort.seeds) if self.shuffle else masks

    def _warn_of_empty_layers(self, masks: Mapping[str, Tensor], density: float) -> None:
        empty = {n: ~mask.flatten(1).any(1) for n, mask in masks.items()}
        names = [n for n, of_models in empty.items() if bool(of_models.any())]
        if names:
            networks = torch.stack([empty[n] for n in names]).any(0)
            _log.warning(
                "sparsifier %r: density %g leaves %s without a weight, in %d of %d networks: where "
                "nothing leads past such a layer answers are the same for every example, and that "
                "nothing leaks then says nothing about sparsity",
                self.name, density, ", ".join(names), int(networks.sum()), len(networks),
            )  # fmt: skip


def candidates(cohort: privaudit.Cohort) -> tuple[str, ...]:
    """The names of weights that may go."""
    embeddings = {
        f"{name}.weight"
        for name, layer in cohort.network.module.named_modules()
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag)
    }
    weights = cohort.weights
    return tuple(n for n, w in weights.items() if w.ndim > 2 and n not in embeddings)


def _shuffled(masks: dict[str, Tensor], seeds: tuple[int, ...]) -> dict[str, Tensor]:
    """Each layer's masks (M, *shape) in an order that each model's seed draws."""
    shuffled = {}
    for name, mask in masks.items():
        keys = torch.tensor([derive(seed, "shuffle", name) for seed in seeds])
        order = uniform(keys, prod(mask.shape[1:]), dtype=torch.float64).argsort(1)
        shuffled[name] = mask.flatten(1).gather(1, order).view_as(mask)
    return shuffled
