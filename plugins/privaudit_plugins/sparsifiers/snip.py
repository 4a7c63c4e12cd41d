"""SNIP: pruning at initialisation by connection sensitivity."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import cross_entropy

import privaudit
from privaudit_plugins.sparsifiers._at_start import AtStart, candidates
from privaudit_plugins.sparsifiers._whose import Looks


class Snip(AtStart, Looks):
    """Before training, the weights go whose loss would change the least, then the rest is trained.

    A weight's connection sensitivity is |w · ∂loss/∂w|, by the cross-entropy of the untrained
    network on one batch (equation 5 and algorithm 1). Dropout is off, and BatchNorm uses its
    running statistics, which are 0 and 1 then, as in the authors' code.
    """

    paper: ClassVar[str] = (
        "Lee et al. 2019, SNIP: single-shot network pruning based on connection sensitivity"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Networks start as the model has it, where the paper scales their variance by fan-in and "
        "fan-out (Glorot).",
        "Biases stay, where the authors' code prunes them with the weights: those that start at "
        "0 have no sensitivity and all go.",
        "The batch is drawn by each model's seed and not augmented.",
    )
    name: Literal["snip"] = "snip"
    batch: int = Field(
        128, ge=1, description="examples of the batch; the paper has 128 for CIFAR, 100 for MNIST"
    )

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By connection sensitivity.

        Raises:
            PluginError: it is no finite number.
        """
        gradients = cohort.gradients(cross_entropy, rows=self.rows, most=self.batch)
        weights = cohort.weights
        scores = {n: (weights[n] * gradients[n]).abs() for n in candidates(cohort)}
        wrong = [n for n, score in scores.items() if not bool(score.isfinite().all())]
        if wrong:
            raise privaudit.PluginError(
                f"snip: the untrained network's gradients of {wrong[0]} are no finite numbers: "
                "look at the model's initialisation and at the scale of its inputs"
            )
        cohort.prune(keep=density, scores=scores)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Snip]
