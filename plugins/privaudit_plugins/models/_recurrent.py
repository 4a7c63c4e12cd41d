"""Recurrent layers in plain matrix products, which many models can take at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from privaudit import RecipeError

State = tuple[Tensor, ...]  # the hidden state (B, H) first, then what else is remembered


def _tanh(read: Tensor, heard: Tensor, state: State) -> State:
    return (torch.tanh(read + heard),)


def _relu(read: Tensor, heard: Tensor, state: State) -> State:
    return (torch.relu(read + heard),)


def _gru(read: Tensor, heard: Tensor, state: State) -> State:
    read_r, read_z, read_n = read.chunk(3, -1)
    heard_r, heard_z, heard_n = heard.chunk(3, -1)
    update = torch.sigmoid(read_z + heard_z)
    new = torch.tanh(read_n + torch.sigmoid(read_r + heard_r) * heard_n)
    return ((1 - update) * new + update * state[0],)


def _lstm(read: Tensor, heard: Tensor, state: State) -> State:
    enter, forget, new, out = (read + heard).chunk(4, -1)
    memory = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(memory), memory


@dataclass(frozen=True)
class Cell:
    """How one step changes the state, by the equations of `torch.nn`.

    Attributes:
        gates: matrices H×H in a layer's matrix, one below the other.
        states: tensors (B, H) in a state.
        step: from W_ih x + b_ih and W_hh h + b_hh, both (B, gates·H), and the state before.
    """

    gates: int
    states: int
    step: Callable[[Tensor, Tensor, State], State]


CELLS = {
    "tanh": Cell(1, 1, _tanh),
    "relu": Cell(1, 1, _relu),
    "gru": Cell(3, 1, _gru),
    "lstm": Cell(4, 2, _lstm),
}


class RecurrentLayer(nn.Module):
    """One recurrent layer whose matrices are linear layers, which pruning and butterfly know.

    Attributes:
        gates: matrices H×H that `hh` holds one below the other.
    """

    def __init__(self, kind: str, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell, self.hidden = CELLS[kind], hidden
        self.gates = self.cell.gates
        self.ih = nn.Linear(inputs, self.gates * hidden)
        self.hh = nn.Linear(hidden, self.gates * hidden)
        for weight in self.parameters():  # as nn.RNN, nn.GRU and nn.LSTM start
            nn.init.uniform_(weight, -(hidden**-0.5), hidden**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, T, inputs) to the hidden state of every step, (B, T, H)."""
        state: State = (x.new_zeros(x.size(0), self.hidden),) * self.cell.states
        states = []
        for read in self.ih(x).unbind(1):
            state = self.cell.step(read, self.hh(state[0]), state)
            states.append(state[0])
        return torch.stack(states, 1)


class RecurrentNetwork(nn.Module):
    """Recurrent layers one above the other, and a linear layer on the last step."""

    def __init__(
        self, kind: str, inputs: int, classes: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for number in range(layers):
            if number and dropout:
                self.layers.add_module(f"dropout{number}", nn.Dropout(dropout))
            layer = RecurrentLayer(kind, hidden if number else inputs, hidden)
            self.layers.add_module(f"layer{number + 1}", layer)
        self.output = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """From sequences (B, T, F), or images (B, C, H, W) row by row, to logits (B, classes)."""
        if x.ndim == 4:
            x = x.transpose(1, 2).flatten(2)  # H steps of C·W numbers
        return cast(Tensor, self.output(self.layers(x)[:, -1]))


def step_size(model: str, shape: tuple[int, ...]) -> int:
    """How many numbers a step of an example of this shape has.

    Raises:
        RecipeError: it is neither a sequence nor an image.
    """
    if len(shape) == 2:
        return shape[1]
    if len(shape) == 3:
        return shape[0] * shape[2]
    raise RecipeError(
        f"model {model} needs sequences of shape (steps, numbers), such as (steps, 1), or images, "
        f"which it reads row by row, but this dataset's examples have shape {shape}: use mlp, "
        "which takes any shape"
    )
