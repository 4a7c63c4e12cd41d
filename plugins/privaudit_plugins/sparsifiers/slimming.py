"""Network slimming: channels whose BatchNorm scale training has made small."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import privaudit
from privaudit.channels import Channels
from privaudit_plugins.sparsifiers._one_shot import OneShot, weakest


class Slimming(OneShot):
    """An L1 penalty on BatchNorm scales, then the channels of smallest scale go, then fine-tuning.

    Scales start at one half, as published; with `start: 1` they start as PyTorch's do.

    Exactly round(density × channels) of all BatchNorm channels stay, and one of each BatchNorm at
    least. A channel takes with it its shift, the filter that feeds no other, and the weights that
    following layers have for it, where nothing else feeds it.
    """

    paper: ClassVar[str] = (
        "Liu et al. 2017, Learning efficient convolutional networks through network slimming, "
        "section 3; audited by Yuan & Zhang 2022"
    )
    during: ClassVar[str] = "train"
    name: Literal["slimming"] = "slimming"
    weight: float = Field(1e-4, ge=0, description="of the sum of all |scale| in the loss")
    start: float = Field(
        0.5, gt=0, allow_inf_nan=False, description="of all BatchNorm scales, before any training"
    )

    def prepare(self, module: nn.Module) -> nn.Module:
        """The network, whose BatchNorm scales start anew.

        Raises:
            RecipeError: it has no BatchNorm.
        """
        scales = _scales(module)
        if not scales:
            raise privaudit.RecipeError(
                "slimming: this network has no BatchNorm, by whose scales channels are chosen: "
                "use a model with it (such as cnn with `norm: batch`), or l1_structured"
            )
        for name in scales.values():
            nn.init.constant_(module.get_parameter(name), self.start)
        return module

    def penalty(self, weights: privaudit.Weights) -> Tensor:
        """The L1 norm of the scales (equation 1)."""
        scales = [weights[name].abs().sum() for name in _scales(weights.module).values()]
        return self.weight * torch.stack(scales).sum()

    def prune(self, cohort: privaudit.Cohort, density: float) -> None:
        """By the magnitude of scales."""
        module, weights = cohort.network.module, cohort.weights
        scores = {layer: weights[name].abs() for layer, name in _scales(module).items()}
        gone = Channels(module).without_effect(weakest(scores, density, self.scope))
        cohort.prune_where({name: where for name, where in gone.items() if name in weights})


def _scales(module: nn.Module) -> dict[str, str]:
    """The names of BatchNorm scales that are trained, by layer."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return {
        name: f"{name}.weight"
        for name, layer in module.named_modules()
        if isinstance(layer, kinds) and layer.affine and layer.weight.requires_grad
    }


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Slimming]
