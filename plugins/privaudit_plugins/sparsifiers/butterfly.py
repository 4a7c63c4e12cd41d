"""Butterfly sparsity: a support fixed before training."""

from __future__ import annotations

import warnings
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.sparsifiers._butterfly_chain import Factor, chain
from privaudit_plugins.sparsifiers._butterfly_layers import ButterflyConv2d, ButterflyLinear
from privaudit_plugins.sparsifiers._layer_choice import Layer, Substitution


class Butterfly(Substitution):
    """Weight matrices become products of a few sparse factors, and only those are trained.

    Without `segments` and `layers`, the layers of all segments are substituted where the network
    has segments, and every linear and convolution layer but the last elsewhere.
    """

    paper: ClassVar[str] = (
        "Gonon et al. 2023, Sparsity can improve privacy of neural networks, section 3.2"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The paper does not say how factors start; here entries of their product vary as "
        "those of PyTorch's dense layers do.",
    )
    name: Literal["butterfly"] = "butterfly"
    factors: int = Field(2, ge=1, description="sparse factors that each matrix is a product of")

    def substitute(self, name: str, layer: Layer) -> nn.Module:
        """The layer as a butterfly one."""
        if isinstance(layer, nn.Linear):
            return ButterflyLinear(layer, self._chain(name, layer))
        return ButterflyConv2d(layer, self._chain(name, layer))

    def _chain(self, name: str, layer: Layer) -> tuple[Factor, ...]:
        rows, columns = layer.weight.flatten(1).shape
        try:
            factors = chain(rows, columns, self.factors)
        except ValueError as error:
            raise privaudit.RecipeError(
                f"butterfly: layer {name!r}: {error}: change `factors`, "
                "or leave the layer dense by naming others in `layers`"
            ) from error
        parameters = sum(factor.parameters for factor in factors)
        if parameters >= rows * columns:
            warnings.warn(  # which Python shows once, however many models are prepared
                f"butterfly: layer {name!r} saves nothing: its {rows}x{columns} matrix has "
                f"{parameters} parameters as a product of {self.factors}",
                stacklevel=2,
            )
        return factors


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Butterfly]
