"""Joint pruning and quantisation by ADMM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.sparsifiers._admm import DEVIATIONS, ADMMPruner
from privaudit_plugins.sparsifiers._grid import best_spacing, off_zero
from privaudit_plugins.sparsifiers._multipliers import RHO, begun, penalty, renewed, residual

_FREE, _SPACING = "free ", "spacing of "


class Quantising(privaudit.Sparsifier):
    """The second phase: draws the weights that are left towards few values.

    In each layer these are ±q, ±2q, ... ±2^(bits - 1)·q: zero, which pruned weights have, is none.
    """

    name: Literal["admm_nn_quantising"] = "admm_nn_quantising"
    bits: int
    rho: float
    rho_growth: float
    rho_most: float
    every: int

    def memory(self, weights: privaudit.Weights) -> Mapping[str, Tensor]:
        """Which weights are not pruned, each layer's q, and Z, U and ρ."""
        left = {name: w != 0 for name, w in weights.items() if w.ndim > 1}
        spacing = {n: best_spacing(weights[n][where], self.bits) for n, where in left.items()}
        memory = {_FREE + n: where for n, where in left.items()}
        memory |= {_SPACING + n: q for n, q in spacing.items()}
        nearest = nearest_values({n: weights[n] for n in left}, memory, self.bits)
        return memory | begun(nearest, self.rho)

    def penalty(self, weights: privaudit.Weights) -> Tensor:
        """ρ/2·‖W − Z + U‖²."""
        return penalty(weights)

    def remember(self, weights: privaudit.Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """Z = the values nearest to W + U; U = U + W − Z, every few epochs."""
        return renewed(
            weights,
            (epoch + 1) % self.every == 0,
            lambda reached: nearest_values(reached, weights.memory, self.bits),
            torch.clamp(weights.memory[RHO] * self.rho_growth, max=self.rho_most),
        )


class ADMMNN(ADMMPruner):
    """Weights are pruned by ADMM as `admm` does, then those left are quantised by ADMM.

    The weights that are left in a layer end on 2^bits values ±q, ±2q, ..., evenly spaced and
    without zero; q is chosen for each layer to round the pruned weights with the least squared
    error. Two levels: `pruned`, fine-tuned, and the quantised network that follows from it. Of
    each, `primal residual` is noted: how far weights were from what they were drawn towards.
    """

    paper: ClassVar[str] = (
        "Ren et al. 2019, ADMM-NN: an algorithm-hardware co-design framework of DNNs using "
        "alternating direction methods of multipliers"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        *DEVIATIONS,
        "Derived from what is known of the paper, not from its code: all layers have the same "
        "number of bits, where the paper chooses one for each.",
        "The spacing q is searched for once, before the second phase, among a hundred.",
        "Nothing is trained after the last rounding.",
    )
    name: Literal["admm_nn"] = "admm_nn"
    bits: int = Field(4, ge=2, le=8, description="bits of a weight that is left")
    quantise_epochs: int | None = Field(
        None, ge=1, description="of the second phase; as many as of training if not given"
    )

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """Two levels: the pruned network, and the same with few values.

        Raises:
            RecipeError: a phase ends before its first update.
        """
        self.enough(cohort.training, "quantise_epochs", self.quantise_epochs)
        self.pruned(cohort)
        yield "pruned"
        training = cohort.training
        drawing = Quantising(
            bits=self.bits,
            rho=self.rho,
            rho_growth=self.rho_growth,
            rho_most=self.rho_most,
            every=self.every,
        )
        cohort.fit(
            self.quantise_epochs or training.epochs,
            tune=True,
            sparsifier=drawing,
            lr=self.lr or training.lr,
            patience=None,
        )
        cohort.note("primal residual", residual(cohort))
        memory = cohort.memory
        reached = {n: w for n, w in cohort.weights.items() if _FREE + n in memory}
        of_all = torch.vmap(lambda weights, kept: nearest_values(weights, kept, self.bits))
        cohort.set(of_all(reached, memory))
        yield f"pruned, {self.bits} bits"


def nearest_values(
    weights: Mapping[str, Tensor], memory: Mapping[str, Tensor], bits: int
) -> dict[str, Tensor]:
    """One model's weights on the values nearest to them, zero where pruned."""
    return {
        name: torch.where(memory[_FREE + name], off_zero(w, memory[_SPACING + name], bits), 0.0)
        for name, w in weights.items()
    }


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ADMMNN]
