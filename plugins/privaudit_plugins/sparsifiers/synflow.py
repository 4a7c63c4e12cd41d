"""SynFlow: pruning at initialisation that looks at no example."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

import privaudit
from privaudit_plugins.sparsifiers._at_start import AtStart, candidates

_PER_EXAMPLE = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.RMSNorm)


class SynFlow(AtStart):
    """Before training, the weights go through which the least flows, then the rest is trained.

    R is the sum of what the network answers to an input of ones when every weight has lost its
    sign; a weight's score is |w| · ∂R/∂|w| (equation 2). After k of n iterations the largest
    density^(k/n) of all weights are left, scored anew each time (algorithm 1), which keeps layers
    from being cut through. It looks at no example, so it costs no privacy. Calculated in float64,
    because answers without signs grow with depth beyond what float32 holds.
    """

    paper: ClassVar[str] = (
        "Tanaka et al. 2020, Pruning neural networks without any data by iteratively conserving "
        "synaptic flow"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Of equal scores the first stay, so that the density is exact, where the authors' code "
        "prunes all that tie with the threshold.",
        "Calculated in float64, where the authors' code has float32.",
        "Networks that normalise each example (GroupNorm, LayerNorm) are refused: no flow is "
        "conserved through them.",
    )
    name: Literal["synflow"] = "synflow"
    iterations: int = Field(100, ge=1, le=1000, description="of scoring and pruning")

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """In many small steps.

        Raises:
            RecipeError: flow is not conserved in this network.
            PluginError: scores are no finite numbers.
        """
        for name, layer in cohort.network.module.named_modules():
            if isinstance(layer, _PER_EXAMPLE):
                raise privaudit.RecipeError(
                    f"synflow: layer {name!r} is a {type(layer).__name__}, which normalises each "
                    "example and conserves no synaptic flow: use a model with BatchNorm or none, "
                    "or snip"
                )
        names = candidates(cohort)
        total = left = sum(cohort.weights[n][0].numel() for n in names)
        for k in range(1, self.iterations + 1):
            stays = round(density ** (k / self.iterations) * total)
            cohort.prune(keep=stays / left if left else 0, scores=self._scores(cohort, names))
            left = stays

    @staticmethod
    def _scores(cohort: privaudit.Cohort, names: tuple[str, ...]) -> dict[str, Tensor]:
        unsigned = cohort.fork()
        unsigned.set({n: w.abs() for n, w in cohort.weights.items()})
        gradients = unsigned.gradients(lambda logits, y: logits.sum(), rows="ones")
        weights = unsigned.weights
        scores = {n: (weights[n].double() * gradients[n]).abs() for n in names}
        wrong = [n for n, score in scores.items() if not bool(score.isfinite().all())]
        if wrong:
            raise privaudit.PluginError(
                f"synflow: the flow through {wrong[0]} is no finite number, even in float64: the "
                "network is too deep, or its activations grow too fast; use snip"
            )
        return scores


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [SynFlow]
