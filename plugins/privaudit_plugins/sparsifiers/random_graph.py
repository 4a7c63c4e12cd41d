"""A sparse architecture: who hears whom is drawn as a random graph before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import privaudit
from privaudit.keys import derive
from privaudit_plugins.models._recurrent import RecurrentLayer
from privaudit_plugins.sparsifiers._graphs import GRAPHS, shape_of

_NODES = 64  # of You et al., section 5.1

Degree = Annotated[int, Field(ge=2, multiple_of=2)]


class RandomGraph(privaudit.Sparsifier):
    """Units hear each other where a random graph joins them; all other weights are never there.

    Units are the nodes of a graph. A weight from one unit to another stays if the graph joins
    the two, or if they are the same node; the rest is zero before training, which happens once.
    This holds for the layers between hidden units: the matrices of a recurrent layer from the
    step before, in every gate alike, and linear layers and convolutions but for the first and the
    last. Where a layer has more units than there are nodes, neighbouring units share one.

    Every network has a graph of its own, drawn from its seed. `erdos_renyi` is the control: as
    many edges without a structure. What the graphs are like is reported as notes: the deviation
    of the nodes' degrees, the clustering coefficient, the mean path length, and the share of the
    weights between hidden units that stays.
    """

    paper: ClassVar[str] = (
        "Darji 2021, Investigating sparsity in recurrent neural networks; You et al. 2020, Graph "
        "structure of neural networks, section 2"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Darji builds layers from the longest paths of a graph, with a recurrent matrix for each "
        "that is dense; here the network's own layers stay, and the recurrent matrix follows the "
        "graph, as the layers of You et al. do.",
        "The graph `erdos_renyi` is ours, to tell structure from density.",
        "Darji reports diameter, eccentricity, closeness and betweenness as well.",
        "A ring's edges are rewired all, as Darji has it, unless `rewire` says otherwise; Watts & "
        "Strogatz look at small shares.",
    )
    name: Literal["random_graph"] = "random_graph"
    graph: Literal["watts_strogatz", "barabasi_albert", "erdos_renyi"] = Field(
        "watts_strogatz",
        description="small worlds, graphs with hubs, or, as a control, graphs without a structure",
    )
    degree: Degree | Annotated[tuple[Degree, ...], Field(min_length=1)] | None = Field(
        None,
        description="edges of a node in the mean, even; a list: one level for each; a fifth of "
        "the nodes if not given",
    )
    rewire: float = Field(
        1.0, ge=0, le=1, description="share of the ring's edges that watts_strogatz rewires"
    )
    nodes: int | None = Field(
        None,
        ge=3,
        description="of each graph; if not given, the units of the narrowest layer, 64 at most",
    )
    draw: int | None = Field(
        None, ge=0, description="number of the one graph that all networks have; own ones if none"
    )

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if isinstance(self.degree, tuple) and len(set(self.degree)) < len(self.degree):
            raise ValueError("every degree of the list needs to be another")
        return self

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module as it is, once graphs can be drawn for it.

        Raises:
            RecipeError: it has no layers between hidden units, or no graph suits them.
        """
        nodes = self._nodes(_between(module))
        for degree in self._degrees(nodes):
            self._graph(0, nodes, degree)
        return module

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level for each degree, each trained from the beginning."""
        layers = _between(cohort.network.module)
        nodes = self._nodes(layers)
        cohort.save("untrained")
        for degree in self._degrees(nodes):
            cohort.rewind("untrained")
            graphs = [self._graph(seed, nodes, degree) for seed in cohort.seeds]
            stays = {
                name: torch.stack([layer.stays(graph) for graph in graphs])
                for name, layer in layers.items()
            }
            cohort.prune_where(
                {
                    name: ~where.view(*where.shape, *layers[name].kernel).expand_as(
                        cohort.weights[name]
                    )
                    for name, where in stays.items()
                }
            )
            cohort.fit()
            cohort.rewind("best")
            _note(cohort, graphs, torch.cat([where.flatten(1) for where in stays.values()], 1))
            yield f"degree {degree}"

    def _nodes(self, layers: Mapping[str, _Between]) -> int:
        if not layers:
            raise privaudit.RecipeError(
                "random_graph: this network has no layer between hidden units: use rnn, gru or "
                "lstm, or a network of two hidden layers and more"
            )
        name, layer = min(layers.items(), key=lambda item: item[1].narrow)
        if layer.narrow < 3:
            raise privaudit.RecipeError(
                f"random_graph: {name} has {layer.narrow} units on a side, and a graph needs 3 "
                "nodes: use a wider network"
            )
        if self.nodes is not None and self.nodes > layer.narrow:
            raise privaudit.RecipeError(
                f"random_graph: nodes is {self.nodes}, but {name} has {layer.narrow} units on a "
                "side: choose fewer nodes, or a wider network"
            )
        return self.nodes or min(layer.narrow, _NODES)

    def _degrees(self, nodes: int) -> tuple[int, ...]:
        chosen = self.degree or max(2, nodes // 10 * 2)
        degrees = (chosen,) if isinstance(chosen, int) else chosen
        if max(degrees) >= nodes:
            raise privaudit.RecipeError(
                f"random_graph: degree is {max(degrees)}, but a graph of {nodes} nodes has less "
                f"than {nodes} edges at each: choose a smaller degree, or more `nodes`"
            )
        return degrees

    def _graph(self, seed: int, nodes: int, degree: int) -> Tensor:
        own = derive(seed if self.draw is None else self.draw, "graph", self.graph, degree)
        try:
            return GRAPHS[self.graph](nodes, degree, self.rewire, Random(own))
        except ValueError as error:
            raise privaudit.RecipeError(
                f"random_graph: {error}: choose a degree above {degree}"
            ) from None


@dataclass(frozen=True)
class _Between:
    """A matrix of weights between hidden units.

    Attributes:
        outputs: units that it feeds.
        inputs: units that feed it.
        gates: how many matrices (outputs, inputs) it holds, one below the other.
        kernel: ones, as many as its weights have axes behind these two.
    """

    outputs: int
    inputs: int
    gates: int = 1
    kernel: tuple[int, ...] = ()

    @property
    def narrow(self) -> int:
        """Units on its narrower side."""
        return min(self.outputs, self.inputs)

    def stays(self, graph: Tensor) -> Tensor:
        """(gates·outputs, inputs) bool: which weights the graph has."""
        nodes = len(graph)
        rows, columns = (
            torch.arange(width) * nodes // width for width in (self.outputs, self.inputs)
        )
        joined = graph | torch.eye(nodes, dtype=torch.bool)
        return joined[rows][:, columns].repeat(self.gates, 1)


def _between(module: nn.Module) -> dict[str, _Between]:
    """The weights between hidden units, by name.

    Those of recurrent layers from the step before and from the layer below, and of all other
    layers but the first and the last.
    """
    recurrent: dict[str, _Between] = {}
    others: dict[str, _Between | None] = {}
    gates: dict[str, int] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, RecurrentLayer):
            gates |= {f"{name}.ih": layer.gates, f"{name}.hh": layer.gates}
        elif isinstance(layer, nn.RNNBase):
            recurrent |= _of_torch(name, layer)
        elif type(layer) is nn.Linear:
            count = gates.get(name, 1)
            matrix = _Between(layer.out_features // count, layer.in_features, count)
            again = name in gates and name.endswith(".hh")
            (recurrent if again else others)[f"{name}.weight"] = matrix
        elif type(layer) is nn.Conv2d:
            plain = _Between(layer.out_channels, layer.in_channels, kernel=(1, 1))
            others[f"{name}.weight"] = plain if layer.groups == 1 else None
    return recurrent | {name: layer for name, layer in list(others.items())[1:-1] if layer}


def _of_torch(name: str, layer: nn.RNNBase) -> dict[str, _Between]:
    """The matrices of nn.RNN, nn.GRU or nn.LSTM but those that read its input."""
    hidden = layer.hidden_size
    return {
        f"{name}.{own}" if name else own: _Between(hidden, weight.shape[1], len(weight) // hidden)
        for own, weight in layer.named_parameters()
        if own.startswith(("weight_hh", "weight_ih")) and not own.startswith("weight_ih_l0")
    }


def _note(cohort: privaudit.Cohort, graphs: list[Tensor], stays: Tensor) -> None:
    shapes = [shape_of(graph) for graph in graphs]
    for what in shapes[0]:
        cohort.note(what, torch.tensor([shape[what] for shape in shapes]))
    cohort.note("hidden density", stays.double().mean(1))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RandomGraph]
