"""MIA-Pruning: training under a bound on the number of nonzero weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.sparsifiers._nearest import nearest_sparse


class MIAPruning(privaudit.Sparsifier):
    """Minimise the loss over networks of k nonzero weights, then fine-tune those k.

    Each step of training is followed by a projection (iterative hard thresholding): the k weights
    of largest magnitude stay, the others become zero, but may return with the next step. The
    support left at the end of training is pruned to for good and fine-tuned. k counts the weights
    of convolutions and linear layers; biases and normalisation stay. With the defense `min_max`
    the loss is penalised by the best attack's gain: the paper's MIA-Pruning & Min-Max.

    `admm` is the soft form, whose penalty pulls each weight towards its projection.
    """

    paper: ClassVar[str] = (
        "Wang et al. 2021, Against membership inference attack: pruning is all you need"
    )
    tunes: ClassVar[bool] = True
    during: ClassVar[str] = "train"
    name: Literal["mia_pruning"] = "mia_pruning"
    density: float = Field(0.1, gt=0, lt=1, description="share of the weights that stays")
    scope: Literal["global", "layer"] = Field(
        "global", description="this share of all weights together, or of each layer's"
    )
    project_from: int = Field(
        1, ge=0, description="epochs of training that pass before steps are projected"
    )
    epochs: int | None = Field(
        None, ge=1, description="of fine-tuning; as many as of training if not given"
    )
    lr: float | None = Field(
        None, gt=0, description="of fine-tuning; that of training if not given"
    )

    def project(self, weights: privaudit.Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """The weights with all but the largest k set to zero; of equal ones the first stay."""
        nearest = nearest_sparse(weights, self.density, self.scope)
        waits = epoch < self.project_from
        return {name: torch.where(waits, weights[name], w) for name, w in nearest.items()}

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level: the fine-tuned network of k weights.

        Raises:
            RecipeError: training ends before the first projection.
        """
        training = cohort.training
        passes = min(training.epochs, training.stop_after or training.epochs)
        if self.project_from >= passes:
            raise privaudit.RecipeError(
                f"mia_pruning: project_from is {self.project_from}, but training has only "
                f"{passes} epochs: project earlier, or train longer"
            )
        cohort.fit()  # not its best epoch, which may come before the first projection
        cohort.prune(keep=self.density, scope=self.scope)
        cohort.fit(self.epochs, tune=True, lr=self.lr or training.lr)
        cohort.rewind("best")
        yield ""


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [MIAPruning]
