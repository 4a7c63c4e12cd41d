"""Pruning by the alternating direction method of multipliers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import privaudit
from privaudit_plugins.sparsifiers._admm import DEVIATIONS, ADMMPruner


class ADMM(ADMMPruner):
    """Weights of a trained network are drawn towards sparse ones, then pruned and fine-tuned.

    The loss gains ρ/2·‖W − Z + U‖². Every few epochs ρ is multiplied, Z becomes the sparse weights
    that are nearest to W + U, and U grows by W − Z. What is not among the largest weights at the
    end is pruned, and the rest fine-tuned. Candidates are the weights of convolutions and linear
    layers: biases and normalisation stay.

    `primal residual` is noted: ‖W − Z‖ / ‖W‖ before pruning. Where it is far from 0, the method has
    not converged: let it run longer, or with a larger ρ.
    """

    paper: ClassVar[str] = (
        "Zhang et al. 2018, A systematic DNN weight pruning framework using alternating direction "
        "method of multipliers; with the growing ρ of Ye et al. 2019, Progressive DNN compression"
    )
    deviations: ClassVar[tuple[str, ...]] = DEVIATIONS
    name: Literal["admm"] = "admm"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level: the fine-tuned sparse network."""
        self.pruned(cohort)
        yield ""


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ADMM]
