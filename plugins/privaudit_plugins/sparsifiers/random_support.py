"""One-shot pruning that looks at nothing: the control of the other pruners."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch

import privaudit
from privaudit.keys import derive, uniform
from privaudit_plugins.sparsifiers._one_shot import OneShot


class RandomSupport(OneShot):
    """Weights chosen at random go, then the rest is fine-tuned: what density alone does.

    Each model has a support of its own, drawn from its seed. Supports are nested: the weights that
    stay at a small density also stay at every larger one, so that levels differ in density only.
    Candidates are the weights of convolutions and linear layers, as with `l1_unstructured`.
    """

    name: Literal["random"] = "random"

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By numbers drawn once for each weight."""
        scores = {}
        for name, weight in cohort.weights.items():
            if weight.ndim > 2:
                keys = torch.tensor([derive(seed, "support", name) for seed in cohort.seeds])
                drawn = uniform(keys, prod(weight.shape[1:]), dtype=torch.float64)
                scores[name] = drawn.view_as(weight)
        cohort.prune(keep=density, scores=scores, scope=self.scope)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RandomSupport]
