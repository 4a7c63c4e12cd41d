"""One-shot magnitude pruning of single weights."""

from __future__ import annotations

from typing import ClassVar, Literal

import privaudit
from privaudit_plugins.sparsifiers._one_shot import OneShot


class L1Unstructured(OneShot):
    """The weights of smallest magnitude go, then the rest is fine-tuned.

    Candidates are the weights of convolutions and linear layers: biases and BatchNorm stay. Exactly
    round(density × candidates) weights stay.

    `torch.nn.utils.prune.l1_unstructured` chooses the same weights. It is not used because it
    reparametrises the layers of one module in place, with one mask, where a cohort has a mask for
    each of its models over stacked weights.
    """

    paper: ClassVar[str] = (
        "Han et al. 2015, Learning both weights and connections for efficient neural networks; "
        "audited by Yuan & Zhang 2022"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Weights are pruned once, as by Yuan & Zhang, and by one threshold for all layers "
        "unless told, where Han et al. prune in rounds with a threshold for each layer.",
    )
    name: Literal["l1_unstructured"] = "l1_unstructured"

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By magnitude."""
        cohort.prune(keep=density, scope=self.scope)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [L1Unstructured]
