"""Fine-pruning: units that stay silent on clean data go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit.channels import Channels
from privaudit_plugins.sparsifiers._one_shot import OneShot, Scope, weakest
from privaudit_plugins.sparsifiers._whose import Looks, Whose


class FinePruning(OneShot, Looks):
    """The units that answer least to clean examples go, then the rest is fine-tuned.

    A unit is a filter of the last convolution, or where there is none a unit of the last hidden
    layer. Its activation is the mean, over examples and places, of what the next layer takes in
    from it, so behind activation and pooling; least is nearest to minus infinity, as in the
    authors' code. Exactly round(density × units) stay, and one at least; a unit takes with it
    what does nothing without it, as with `l1_structured`.
    """

    paper: ClassVar[str] = (
        "Liu, Dolan-Gavitt & Garg 2018, Fine-pruning: defending against backdooring attacks on "
        "deep neural networks, sections 3.1 and 3.3"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "So many units go as `density` says, where the paper prunes until the accuracy on clean "
        "data falls below a threshold.",
        "Fine-tuning is on the members, as the other pruners have it, where the paper's defender "
        "tunes on clean data of his own.",
        "Where units are added up, as in residual networks, each has the activation of the sum.",
    )
    name: Literal["fine_pruning"] = "fine_pruning"
    rows: Whose = Field(
        "validation",
        description="the clean examples: the split's validation or reference examples, or the "
        "members, which takes the ε of a differentially private training out of force",
    )
    layers: Literal["last", "all"] = Field(
        "last", description="prune the last convolution alone, as the paper, or every layer"
    )
    scope: Scope = Field(
        "layer", description="with all layers: compare units within each, or all with each other"
    )

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level for each density.

        Raises:
            RecipeError: the network's units cannot be told apart.
        """
        self._candidates(cohort, Channels(cohort.network.module))
        yield from super().sparsify(cohort)

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By mean activation."""
        channels, weights = Channels(cohort.network.module), cohort.weights
        taken_in = channels.at_filters(cohort.mean_inputs(self.rows))
        scores = {layer: taken_in[layer] for layer in self._candidates(cohort, channels)}
        gone = channels.without_effect(weakest(scores, density, self.scope))
        cohort.prune_where({name: where for name, where in gone.items() if name in weights})

    def _candidates(self, cohort: privaudit.Cohort, channels: Channels) -> list[str]:
        names = cohort.network.names
        hidden = [n for n in channels.read_filters if f"{n}.weight" in names]
        if not hidden:
            raise privaudit.RecipeError(
                "fine_pruning: this network has no hidden unit whose activation is known to reach "
                "a convolution or linear layer: use a deeper network, one that torch.fx can "
                "trace, or l1_unstructured"
            )
        if self.layers == "all":
            return hidden
        module = cohort.network.module
        before_last = list(channels.filters)[:-1]
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        convolutions = [n for n in before_last if isinstance(module.get_submodule(n), kinds)]
        last = (convolutions or before_last)[-1]
        if last not in hidden:
            raise privaudit.RecipeError(
                f"fine_pruning: what becomes of the units of {last!r} before the next layer takes "
                f"them in is not known: set `layers: all`, which prunes {', '.join(hidden)}"
            )
        return [last]


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [FinePruning]
