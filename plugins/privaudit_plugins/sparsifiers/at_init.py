"""Pruning at initialisation by magnitude and by chance: the controls of SNIP and SynFlow."""

from __future__ import annotations

from math import prod
from typing import ClassVar, Literal

import torch

import privaudit
from privaudit.keys import derive, uniform
from privaudit_plugins.sparsifiers._at_start import AtStart, candidates

_PAPER = (
    "Frankle et al. 2021, Pruning neural networks at initialization: why are we missing the mark?"
)


class MagnitudeAtInit(AtStart):
    """Before training, the weights that start smallest go, then the rest is trained.

    By `|w|` over all layers. Layers that start with small weights, which are those with many
    inputs, so lose more.
    """

    paper: ClassVar[str] = _PAPER
    deviations: ClassVar[tuple[str, ...]] = (
        "Networks start as the model has it, where the paper's start by He et al. 2015.",
    )
    name: Literal["magnitude_at_init"] = "magnitude_at_init"

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By magnitude."""
        weights = cohort.weights
        cohort.prune(keep=density, scores={n: weights[n].abs() for n in candidates(cohort)})


class RandomAtInit(AtStart):
    """Before training, weights chosen by chance go, then the rest is trained.

    Each model has a support of its own, drawn from its seed, and the support of a small density
    is part of that of a larger one.
    """

    paper: ClassVar[str] = _PAPER
    deviations: ClassVar[tuple[str, ...]] = (
        "Weights of all layers are drawn alike, so that a layer's share differs from the whole "
        "by chance.",
    )
    name: Literal["random_at_init"] = "random_at_init"

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By numbers drawn once for each weight."""
        weights, scores = cohort.weights, {}
        for name in candidates(cohort):
            keys = torch.tensor([derive(seed, "support", name) for seed in cohort.seeds])
            drawn = uniform(keys, prod(weights[name].shape[1:]), dtype=torch.float64)
            scores[name] = drawn.view_as(weights[name])
        cohort.prune(keep=density, scores=scores)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [MagnitudeAtInit, RandomAtInit]
