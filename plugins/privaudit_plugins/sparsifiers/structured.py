"""One-shot pruning of whole filters by their norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field

import privaudit
from privaudit.channels import Channels
from privaudit_plugins.sparsifiers._one_shot import OneShot, Scope, weakest


class Structured(OneShot):
    """Filters of small norm go, with everything that does nothing without them.

    Candidates are the filters of convolutions and the rows of linear layers; the last layer's
    rows, which are the classes, stay. With scope `layer` exactly round(density × filters) of each
    layer stay, with `global` of all, and one in each layer at least. A filter takes with it its
    bias, its BatchNorm's scale and shift, and the weights that following layers have for its
    channel, where nothing else feeds that channel; so density, the share of nonzero parameters,
    ends well below the share of filters.

    `torch.nn.utils.prune.ln_structured` chooses the same filters. It is not used because it
    reparametrises the layers of one module in place, with one mask, where a cohort has a mask for
    each of its models over stacked weights; it also leaves biases, BatchNorm and following layers
    as they are, so that a filter it prunes still answers a constant.
    """

    order: ClassVar[int]  # of the norm

    scope: Scope = Field(
        "layer",
        description="compare filters within each layer, or all by their norm per weight",
    )

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level for each density.

        Raises:
            RecipeError: the network has no layer before its last.
        """
        if not self._candidates(cohort, Channels(cohort.network.module)):
            raise privaudit.RecipeError(
                f"{self.name}: this network has no convolution or linear layer before its last, "
                "whose rows are the classes: use a deeper network, or l1_unstructured"
            )
        yield from super().sparsify(cohort)

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By the norms of filters."""
        channels, weights = Channels(cohort.network.module), cohort.weights
        scores = {}
        for layer in self._candidates(cohort, channels):
            filters = weights[f"{layer}.weight"].flatten(2)  # (M, filters, weights of each)
            scores[layer] = torch.linalg.vector_norm(filters, self.order, dim=2)
            if self.scope == "global":
                scores[layer] /= filters.shape[2] ** (1 / self.order)
        gone = channels.without_effect(weakest(scores, density, self.scope))
        cohort.prune_where({name: where for name, where in gone.items() if name in weights})

    @staticmethod
    def _candidates(cohort: privaudit.Cohort, channels: Channels) -> list[str]:
        layers = list(channels.filters)[:-1]
        return [layer for layer in layers if f"{layer}.weight" in cohort.network.names]


class L1Structured(Structured):
    """Whole filters of small L1 norm go, then the rest is fine-tuned."""

    paper: ClassVar[str] = (
        "Li et al. 2017, Pruning filters for efficient ConvNets, section 3.1; "
        "audited by Yuan & Zhang 2022"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Every layer keeps the same share of its filters unless told, where Li et al. spare "
        "the layers that they find sensitive.",
    )
    order: ClassVar[int] = 1
    name: Literal["l1_structured"] = "l1_structured"


class L2Structured(Structured):
    """Whole filters of small L2 norm go, then the rest is fine-tuned."""

    paper: ClassVar[str] = "Yuan & Zhang 2022, who audit it"
    order: ClassVar[int] = 2
    name: Literal["l2_structured"] = "l2_structured"


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [L1Structured, L2Structured]
