"""Pruning by ADMM, which `admm` ends with and `admm_nn` begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

import privaudit
from privaudit_plugins.sparsifiers._multipliers import begun, penalty, renewed, residual
from privaudit_plugins.sparsifiers._nearest import nearest_sparse

DEVIATIONS = (
    "Every layer keeps the same share of its weights, where the papers choose one for each.",
    "The learning rate follows the recipe's schedule once, where public code of the authors' "
    "group starts it anew after each update of Z and U.",
    "Validation accuracy ends no ADMM phase early: patience acts before and after it.",
    "How often ρ is multiplied, by what and up to where is that of public code: every few epochs, "
    "by 1.3 to 2, up to 1. That code leaves U as it is then, where it is divided here by what ρ is "
    "multiplied by, as the method demands: on digits W ended three to ten times as near to Z.",
)


class ADMMPruner(privaudit.Sparsifier):
    """Draws weights towards sparse ones, and prunes them to those.

    min f(W) + g(Z) with W = Z, where g allows sparse Z only: see `_multipliers`.
    """

    tunes: ClassVar[bool] = True
    during: ClassVar[str] = "train"

    density: float = Field(0.1, gt=0, lt=1, description="share of the weights that stays")
    scope: Literal["global", "layer"] = Field(
        "layer", description="this share of each layer's weights, or of all together"
    )
    rho: float = Field(
        0.001, gt=0, allow_inf_nan=False, description="ρ at first: how strongly weights are drawn"
    )
    rho_growth: float = Field(
        2.0, ge=1, allow_inf_nan=False, description="what ρ is multiplied by at each update"
    )
    rho_most: float = Field(1.0, gt=0, allow_inf_nan=False, description="ρ grows no larger")
    every: int = Field(3, ge=1, description="epochs between two updates of Z, U and ρ")
    admm_epochs: int | None = Field(
        None, ge=1, description="of the ADMM phase; as many as of training if not given"
    )
    epochs: int | None = Field(
        None, ge=1, description="of fine-tuning; as many as of training if not given"
    )
    lr: float | None = Field(
        None, gt=0, description="of fine-tuning; that of training if not given"
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.rho > self.rho_most:
            raise ValueError(
                f"rho is {self.rho:g}, above rho_most {self.rho_most:g}: begin with less, or let "
                "it grow further"
            )
        return self

    def memory(self, weights: privaudit.Weights) -> Mapping[str, Tensor]:
        """Z, the sparse weights nearest to those trained; U, zero; ρ."""
        return begun(nearest_sparse(weights, self.density, self.scope), self.rho)

    def penalty(self, weights: privaudit.Weights) -> Tensor:
        """ρ/2·‖W − Z + U‖² (the step of W)."""
        return penalty(weights)

    def remember(self, weights: privaudit.Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """Z = the sparse weights nearest to W + U; U = U + W − Z; both every few epochs."""
        return renewed(
            weights,
            (epoch + 1) % self.every == 0,
            lambda reached: nearest_sparse(reached, self.density, self.scope),
            torch.clamp(weights.memory["rho"] * self.rho_growth, max=self.rho_most),
        )

    def enough(self, training: privaudit.Training, option: str, epochs: int | None) -> None:
        """See that a phase of ADMM updates Z and U at least once.

        Args:
            training: the recipe's schedule.
            option: which says how many epochs of it there are.
            epochs: its value; None: as many as of training.

        Raises:
            RecipeError: it does not.
        """
        passes = epochs or training.epochs
        passes = min(passes, training.stop_after or passes)
        if self.every > passes:
            raise privaudit.RecipeError(
                f"{self.name}: every is {self.every}, but this phase of ADMM has {passes} epochs, "
                f"so that nothing is ever updated: update more often, or raise {option}"
            )

    def pruned(self, cohort: privaudit.Cohort) -> None:
        """Train dense networks, draw their weights, prune them, and fine-tune what is left.

        Raises:
            RecipeError: the ADMM phase ends before its first update.
        """
        training = cohort.training
        self.enough(training, "admm_epochs", self.admm_epochs)
        cohort.fit(sparsifier=privaudit.Sparsifier(name="none"))
        cohort.rewind("best")
        cohort.mark_original()
        cohort.fit(self.admm_epochs or training.epochs, patience=None)
        cohort.note("primal residual", residual(cohort))
        cohort.prune(keep=self.density, scope=self.scope)
        cohort.fit(self.epochs, tune=True, lr=self.lr or training.lr)
        cohort.rewind("best")
