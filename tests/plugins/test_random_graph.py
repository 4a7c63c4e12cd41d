"""Random graphs as architectures: what is drawn, what stays, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import mean
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from brought_networks import Brought
from privaudit import Model, PrivauditError, RecipeError
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.recurrent import GRU, LSTM, RNN
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers._graphs import GRAPHS, distances, shape_of
from privaudit_plugins.sparsifiers.random_graph import RandomGraph

nx = pytest.importorskip("networkx", reason="comes with torch, but for its slimmest builds")
Make = Callable[..., Cohort]
every_graph = pytest.mark.parametrize("kind", GRAPHS)


def drawn(kind: str, nodes: int, degree: int, rewire: float = 0.2, seed: int = 0) -> Tensor:
    return GRAPHS[kind](nodes, degree, rewire, Random(seed))


def known(graph: Tensor) -> Any:
    return nx.from_numpy_array(graph.int().numpy())


@every_graph
@pytest.mark.parametrize("seed", range(4))
def test_the_shape_of_a_graph_is_what_networkx_says(kind: str, seed: int) -> None:
    graph = drawn(kind, 21, 4, seed=seed)
    assert torch.equal(graph, graph.T)
    assert not graph.diagonal().any()
    reference = known(graph)
    shape = shape_of(graph)
    degrees = [degree for _, degree in reference.degree()]
    around = sum(degrees) / 21
    assert shape["degree sd"] == pytest.approx((mean((d - around) ** 2 for d in degrees)) ** 0.5)
    assert shape["clustering"] == pytest.approx(nx.average_clustering(reference))
    assert shape["path length"] == pytest.approx(nx.average_shortest_path_length(reference))


def test_nodes_without_a_path_are_infinitely_far() -> None:
    graph = torch.zeros((4, 4), dtype=torch.bool)
    graph[0, 1] = graph[1, 0] = graph[2, 3] = graph[3, 2] = True
    assert distances(graph)[0].tolist() == [0, 1, torch.inf, torch.inf]


def test_an_unrewired_ring_is_the_lattice() -> None:
    lattice = nx.watts_strogatz_graph(11, 4, 0)
    expected = torch.from_numpy(nx.to_numpy_array(lattice, nodelist=range(11))).bool()
    assert torch.equal(drawn("watts_strogatz", 11, 4, rewire=0), expected)


@pytest.mark.parametrize("nodes", [5, 12, 40])
def test_graphs_have_the_edges_that_their_papers_count(nodes: int) -> None:
    assert drawn("watts_strogatz", nodes, 4, rewire=1).sum() / 2 == 2 * nodes
    assert drawn("erdos_renyi", nodes, 4).sum() / 2 == 2 * nodes
    assert drawn("barabasi_albert", nodes, 4).sum() / 2 == 2 * (nodes - 2)


@pytest.mark.parametrize("rewire", [0.1, 1.0])
def test_small_worlds_are_like_those_of_networkx(rewire: float) -> None:
    ours = [shape_of(drawn("watts_strogatz", 30, 6, rewire, seed)) for seed in range(60)]
    theirs = [nx.connected_watts_strogatz_graph(30, 6, rewire, 100, seed) for seed in range(60)]
    assert mean(s["clustering"] for s in ours) == pytest.approx(
        mean(nx.average_clustering(g) for g in theirs), abs=0.02
    )
    assert mean(s["path length"] for s in ours) == pytest.approx(
        mean(nx.average_shortest_path_length(g) for g in theirs), abs=0.03
    )


def test_grown_graphs_have_the_hubs_of_those_of_networkx() -> None:
    ours = [drawn("barabasi_albert", 40, 4, seed=seed).sum(1).max() for seed in range(100)]
    theirs = [
        max(d for _, d in nx.barabasi_albert_graph(40, 2, seed).degree()) for seed in range(100)
    ]
    uniform = [drawn("erdos_renyi", 40, 4, seed=seed).sum(1).max() for seed in range(100)]
    assert mean(map(float, ours)) == pytest.approx(mean(theirs), abs=1.0)
    assert mean(map(float, ours)) > mean(map(float, uniform)) + 4


def reached(make_cohort: Make, model: Model, epochs: int = 1, **options: Any) -> Cohort:
    sparsifier = RandomGraph.model_validate(options)
    cohort = make_cohort([20, 20, 20], model=model, sparsifier=sparsifier, epochs=epochs)
    for _ in sparsifier.sparsify(cohort):
        pass
    return cohort


@pytest.mark.parametrize(
    ("model", "gates"), [(RNN(hidden=9), 1), (GRU(hidden=9), 3), (LSTM(hidden=9), 4)]
)
@every_graph
def test_a_unit_hears_those_that_its_graph_joins_it_to(
    make_cohort: Make, model: Model, gates: int, kind: str
) -> None:
    cohort = reached(make_cohort, model, graph=kind, degree=4, rewire=0.3)
    weights = cohort.weights["layers.layer1.hh.weight"]
    for m in range(3):
        blocks = [block != 0 for block in weights[m].chunk(gates)]
        graph = blocks[0] & ~torch.eye(9, dtype=torch.bool)
        assert torch.equal(graph, graph.T)
        assert blocks[0].diagonal().all()  # a unit always hears itself
        assert all(torch.equal(block, blocks[0]) for block in blocks)
        assert graph.sum() / 2 == (14 if kind == "barabasi_albert" else 18)
        assert nx.is_connected(known(graph))
    assert not torch.equal(weights[0] != 0, weights[1] != 0)  # each has a graph of its own
    for name in cohort.weights.keys() - {"layers.layer1.hh.weight"}:
        assert bool((cohort.weights[name] != 0).all()), name


def test_one_graph_serves_all_networks_where_the_recipe_numbers_it(make_cohort: Make) -> None:
    stays = [
        reached(make_cohort, RNN(hidden=12), draw=draw, degree=4).masks["layers.layer1.hh.weight"]
        for draw in (1, 1, 2)
    ]
    assert torch.equal(stays[0][0], stays[0][1])
    assert torch.equal(stays[0], stays[1])
    assert not torch.equal(stays[0], stays[2])


def test_the_notes_are_the_shape_of_the_graphs(make_cohort: Make) -> None:
    cohort = reached(make_cohort, RNN(hidden=12, layers=2), degree=4)
    notes = cohort.take_notes()
    masks = cohort.masks
    for m in range(3):
        between = [
            f"layers.layer{n}.{side}.weight" for n, side in ((1, "hh"), (2, "ih"), (2, "hh"))
        ]
        assert all(torch.equal(masks[name][m], masks[between[0]][m]) for name in between)
        reference = known(masks[between[0]][m] & ~torch.eye(12, dtype=torch.bool))
        assert float(notes["clustering"][m]) == pytest.approx(nx.average_clustering(reference))
        assert float(notes["path length"][m]) == pytest.approx(
            nx.average_shortest_path_length(reference)
        )
        assert float(notes["hidden density"][m]) == pytest.approx((2 * 24 + 12) / 144)
    assert bool(masks["layers.layer1.ih.weight"].all())


def test_every_degree_is_a_level_trained_from_the_beginning(make_cohort: Make) -> None:
    sparsifier = RandomGraph(degree=(2, 4), rewire=0.2)
    cohort = make_cohort([20, 20], model=RNN(hidden=10), sparsifier=sparsifier, epochs=1)
    levels = {}
    for label in sparsifier.sparsify(cohort):
        levels[label] = cohort.weights
    assert list(levels) == ["degree 2", "degree 4"]
    alone = reached(make_cohort, RNN(hidden=10), degree=4, rewire=0.2).weights
    for name, weight in levels["degree 4"].items():
        torch.testing.assert_close(weight[:2], alone[name][:2], rtol=0, atol=1e-12)


def test_units_of_wide_layers_share_a_node(make_cohort: Make) -> None:
    cohort = reached(make_cohort, MLP(hidden=(8, 12)), nodes=4, degree=2, rewire=0)
    stays = cohort.masks["hidden2.weight"][0]
    ring = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1]])
    assert torch.equal(stays, ring.repeat_interleave(3, 0).repeat_interleave(2, 1).bool())
    assert bool(cohort.masks["hidden1.weight"].all() and cohort.masks["output.weight"].all())


def test_convolutions_lose_whole_kernels(make_cohort: Make) -> None:
    cohort = reached(make_cohort, CNN(width=4), degree=2, rewire=0)
    assert bool(cohort.masks["conv1.weight"].all())  # the first
    stays = cohort.masks["conv2.weight"][0]  # (8, 4, 3, 3)
    assert torch.equal(stays, stays[:, :, :1, :1].expand_as(stays))
    assert stays[:, :, 0, 0].sum() == 8 * 3


@pytest.mark.parametrize(("which", "gates"), [("lstm", 4), ("gru", 3)])
def test_recurrent_layers_of_torch_follow_the_graph(
    make_cohort: Make, which: str, gates: int
) -> None:
    cohort = reached(make_cohort, Brought(which=which), degree=2, rewire=0)
    name = next(name for name in cohort.weights if name.endswith("weight_hh_l0"))
    stays = cohort.masks[name][0]
    assert stays.shape == (6 * gates, 6)
    assert stays.sum() == gates * 6 * 3
    assert bool(cohort.masks[name.replace("_hh_", "_ih_")].all())


@pytest.mark.parametrize(
    ("options", "module", "message"),
    [
        ({}, MLP().build((4,), 2), "no layer between hidden units: use rnn, gru or lstm"),
        ({}, MLP(hidden=()).build((4,), 2), "no layer between hidden units"),
        ({}, MLP(hidden=(2, 9)).build((4,), 2), "hidden2.weight has 2 units on a side"),
        ({"nodes": 9}, RNN(hidden=8).build((2, 2), 2), "nodes is 9, but layers.layer1.hh.weight"),
        ({"degree": 8}, RNN(hidden=8).build((2, 2), 2), "degree is 8, but a graph of 8 nodes"),
        ({"degree": [2, 20]}, RNN(hidden=8).build((2, 2), 2), "degree is 20, but"),
        (
            {"degree": 2, "graph": "erdos_renyi"},
            RNN(hidden=64).build((2, 2), 2),
            "none of 200 graphs of 64 nodes hangs together: choose a degree above 2",
        ),
    ],
)
def test_what_no_graph_suits_is_refused_before_training(
    options: dict[str, Any], module: nn.Module, message: str
) -> None:
    with pytest.raises(RecipeError, match=f"^random_graph: .*{message}"):
        RandomGraph.model_validate(options).prepare(module)


@pytest.mark.parametrize(
    "options",
    [
        {"degree": 3}, {"degree": 0}, {"degree": [4, 4]}, {"degree": []}, {"rewire": 1.5},
        {"nodes": 2}, {"draw": -1}, {"graph": "star"}, {"degree": [[4]]}, {"hidden": 3},
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RandomGraph.model_validate(options)


def test_a_deep_network_keeps_its_first_and_last_layer(make_cohort: Make) -> None:
    module = ResNet20().build((3, 8, 8), 10)
    assert RandomGraph().prepare(module) is module
    with pytest.raises(PrivauditError, match="nodes is 17"):
        RandomGraph(nodes=17).prepare(module)
