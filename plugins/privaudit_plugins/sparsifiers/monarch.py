"""Monarch matrices: a structure fixed before training."""

from __future__ import annotations

import warnings
from math import prod
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.sparsifiers._layer_choice import Layer, Substitution
from privaudit_plugins.sparsifiers._monarch_layers import (
    MonarchConv2d,
    MonarchLinear,
    sizes,
    usual_blocks,
)


class Monarch(Substitution):
    """Weight matrices become products of two block-diagonal ones, and only those are trained.

    Between the factors, and behind them, numbers are dealt out to blocks in turn, so that every
    input reaches every output. With √n blocks of √n by √n a matrix of n by n has 2n√n
    parameters. Without `segments` and `layers`, the layers of all segments are substituted where
    the network has segments, and every linear and convolution layer but the last elsewhere.
    """

    paper: ClassVar[str] = (
        "Dao et al. 2022, Monarch: expressive structured matrices for efficient and accurate "
        "training, section 3.1"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Convolutions are substituted, too, by the matrix of their kernel, where the paper's are "
        "the linear layers of attention and perceptrons.",
        "The number of blocks goes by each layer's shorter side, where the paper's code has 4 in "
        "all layers unless told.",
        "What fills up a side that blocks do not divide starts at 0, where the paper's code draws "
        "it; it has no effect on any answer.",
        "Trained from the start by random factors, not projected from dense weights.",
    )
    name: Literal["monarch"] = "monarch"
    blocks: int | None = Field(
        None,
        ge=2,
        description="on each factor's diagonal; the root of a layer's shorter side if not given",
    )

    def substitute(self, name: str, layer: Layer) -> nn.Module:
        """The layer as a Monarch one."""
        rows, columns = layer.weight.flatten(1).shape
        blocks = self.blocks or usual_blocks(rows, columns)
        if blocks > min(rows, columns):
            raise privaudit.RecipeError(
                f"monarch: layer {name!r} has {columns} inputs and {rows} outputs, too few for "
                f"{blocks} blocks: lower `blocks`, or leave the layer dense by naming others in "
                "`layers`"
            )
        parameters = sum(prod(shape) for shape in sizes(rows, columns, blocks))
        if parameters >= rows * columns:
            warnings.warn(  # which Python shows once, however many models are prepared
                f"monarch: layer {name!r} saves nothing: its {rows}x{columns} matrix has "
                f"{parameters} parameters as a product of {blocks} and {blocks} blocks",
                stacklevel=2,
            )
        if isinstance(layer, nn.Linear):
            return MonarchLinear(layer, blocks)
        return MonarchConv2d(layer, blocks)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Monarch]
