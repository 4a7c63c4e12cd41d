"""The multilayer perceptron."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

import privaudit

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class MLP(privaudit.Model):
    """Fully connected layers, for tables and small images."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (128,), description="width of each hidden layer; [] is logistic regression"
    )
    activation: Literal["relu", "tanh", "gelu"] = Field("relu", description="after hidden layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of hidden units dropped in training")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From (B, *shape), images flattened, to logits (B, classes).

        Layers are named `hidden1`, `hidden2`, … and `output`.
        """
        network = nn.Sequential()
        network.add_module("flatten", nn.Flatten())
        width = prod(shape)
        for number, units in enumerate(self.hidden, start=1):
            network.add_module(f"hidden{number}", nn.Linear(width, units))
            network.add_module(f"{self.activation}{number}", _ACTIVATIONS[self.activation]())
            if self.dropout:
                network.add_module(f"dropout{number}", nn.Dropout(self.dropout))
            width = units
        network.add_module("output", nn.Linear(width, classes))
        return network


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [MLP]
