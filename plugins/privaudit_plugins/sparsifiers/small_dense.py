"""A narrower dense network: the control of sparsity at equal size."""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import privaudit
from privaudit.channels import Channels
from privaudit_plugins.sparsifiers._densities import Share

_STEPS = 10_000  # widths are compared in steps of one ten-thousandth


class SmallDense(privaudit.Sparsifier):
    """A dense network with as many parameters as a pruned one keeps, trained from scratch.

    Every layer has the same share of its outputs, the largest with which the network's parameters
    do not exceed density × those of the full one; inputs and classes stay. Outputs are whole, so
    where layers have few of them the size comes less near; the audit reports what it is.

    Every layer draws new weights by its own `reset_parameters`, because how large they start
    depends on how many inputs there are; an initialisation of the model's own is lost.
    """

    paper: ClassVar[str] = (
        "Tan et al. 2023, A blessing of dimensionality in membership inference through "
        "regularization"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Only its smaller networks are here: that wider ones tell no more once they are "
        "regularised, the paper's point, is asked by `early_stopping` on the full network.",
        "Narrowing every layer alike, and by the share of parameters, is our choice.",
    )
    name: Literal["small_dense"] = "small_dense"
    density: Share = Field(0.5, description="parameters at most, as a share of the full network's")

    def prepare(self, module: nn.Module) -> nn.Module:
        """The narrow network, freshly initialised.

        Raises:
            RecipeError: no width is narrow enough.
        """
        channels = Channels(module)
        full = sum(p.numel() for p in module.parameters())
        steps = range(1, _STEPS + 1)
        fitting = bisect_right(
            steps, self.density * full, key=lambda step: channels.size(_beyond(channels, step))
        )
        if fitting == 0:
            least = channels.size(_beyond(channels, 1))
            why = "" if least < full else ", because no channel of it can be taken out"
            raise privaudit.RecipeError(
                f"small_dense: density {self.density:g} is out of reach: this network has "
                f"{least / full:.3g} of its parameters at the least{why}: "
                "ask for more, or for a model that is smaller to begin with"
            )
        narrow = channels.remove(_beyond(channels, steps[fitting - 1]))
        for layer in narrow.modules():
            reset = getattr(layer, "reset_parameters", None)
            if reset is not None:
                reset()
        return narrow


def _beyond(channels: Channels, step: int) -> dict[str, Tensor]:
    """The filters that a network of this width has not, (outputs,) bool by layer."""
    return {
        name: torch.arange(count) >= max(1, round(step * count / _STEPS))
        for name, count in channels.filters.items()
    }


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [SmallDense]
