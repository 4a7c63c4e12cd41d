"""Block-circulant weights: a structure fixed before training."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.sparsifiers._circulant_layers import CirculantConv2d, CirculantLinear
from privaudit_plugins.sparsifiers._layer_choice import Layer, choose_layers, replaced


class BlockCirculant(privaudit.Sparsifier):
    """Weight matrices become blocks of which each row is the one above, shifted by one.

    A block of b×b weights has b parameters, and only those are trained: a substituted layer has
    1/b of its weights. A convolution is cut into blocks by its channels, at each position of its
    kernel. Of a layer's inputs and outputs the block has to divide one; along the other the last
    blocks are cut, which spares a little less.

    Without `layers`, the layers of all segments are substituted where the network has segments,
    and every linear and convolution layer but the last elsewhere.
    """

    paper: ClassVar[str] = (
        "Ding et al. 2017, CirCNN: accelerating and compressing deep neural networks using "
        "block-circulant weight matrices"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Blocks are multiplied as matrices, not by fast Fourier transforms: the answers are "
        "the same, and small layers are faster so.",
    )
    name: Literal["block_circulant"] = "block_circulant"
    block: int = Field(4, ge=2, description="rows and columns of a block")
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="substitute the layers whose names match a pattern, such as 'features.*'",
    )

    def prepare(self, module: nn.Module) -> nn.Module:
        """Put block-circulant layers in place of the chosen ones, as random as those were.

        Raises:
            RecipeError: the options choose no layer, or one that the block does not divide.
        """
        chosen = choose_layers(self.name, module, self.layers)
        return replaced(module, chosen, self._substitute)

    def _substitute(self, name: str, layer: Layer) -> nn.Module:
        rows, columns = layer.weight.shape[:2]
        if rows % self.block and columns % self.block:
            raise privaudit.RecipeError(
                f"block_circulant: layer {name!r} has {columns} inputs and {rows} outputs, and "
                f"a block of {self.block} divides neither: change `block`, or leave the layer "
                "dense by naming others in `layers`"
            )
        if isinstance(layer, nn.Linear):
            return CirculantLinear(layer, self.block)
        return CirculantConv2d(layer, self.block)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [BlockCirculant]
