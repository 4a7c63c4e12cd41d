"""Recurrent networks: the plain one, GRU and LSTM."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

import privaudit
from privaudit_plugins.models._recurrent import RecurrentNetwork, step_size


class _Recurrent(privaudit.Model):
    """Recurrent layers, and a linear layer on the last step's hidden state.

    Pruning takes the weights of every layer, `layers.layer1.ih` from the input and
    `layers.layer1.hh` from the step before, and those of `output`; biases stay. A layer computes
    what `torch.nn` computes with the same weights (`weight_ih_l0` is `layers.layer1.ih.weight`),
    but in plain products, so that many networks are trained at once.
    """

    hidden: int = Field(32, ge=1, description="units of each layer")
    layers: int = Field(1, ge=1, description="recurrent layers, one above the other")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of a layer's outputs dropped before the next layer"
    )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From sequences (B, T, F), or images (B, C, H, W) row by row, to logits (B, classes).

        Raises:
            RecipeError: the examples are neither sequences nor images.
        """
        return RecurrentNetwork(
            self._cell(),
            step_size(self.name, shape),
            classes,
            hidden=self.hidden,
            layers=self.layers,
            dropout=self.dropout,
        )

    def _cell(self) -> str:
        return self.name


class RNN(_Recurrent):
    """Recurrent layers without gates, for sequences of numbers and images row by row."""

    paper: ClassVar[str] = (
        "Elman 1990, Finding structure in time; pruned by Darji 2021, Investigating sparsity in "
        "recurrent neural networks"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Darji reads strings of a grammar, one letter a step, through an embedding; here every "
        "step is numbers.",
    )
    name: Literal["rnn"] = "rnn"
    activation: Literal["tanh", "relu"] = Field("tanh", description="of every unit")

    def _cell(self) -> str:
        return self.activation


class GRU(_Recurrent):
    """Gated recurrent units, for sequences of numbers and images row by row."""

    paper: ClassVar[str] = (
        "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; pruned by "
        "Darji 2021, Investigating sparsity in recurrent neural networks"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The reset gate acts on W h + b, as in torch, where Cho et al. let it act on h.",
        "Darji reads strings of a grammar, one letter a step, through an embedding; here every "
        "step is numbers.",
    )
    name: Literal["gru"] = "gru"


class LSTM(_Recurrent):
    """Long short-term memory, for sequences of numbers and images row by row."""

    paper: ClassVar[str] = (
        "Hochreiter & Schmidhuber 1997, Long short-term memory; with the forget gate of Gers et "
        "al. 2000; pruned by Darji 2021, Investigating sparsity in recurrent neural networks"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Darji reads strings of a grammar, one letter a step, through an embedding; here every "
        "step is numbers.",
    )
    name: Literal["lstm"] = "lstm"


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugins of this module."""
    return [RNN, GRU, LSTM]
