"""Random graphs, and what is said of their shape.

A graph of n nodes is its adjacency matrix (n, n) bool, symmetric, with nothing on the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from random import Random

import torch
from torch import Tensor

_TRIES = 200


def watts_strogatz(nodes: int, degree: int, rewire: float, draw: Random) -> Tensor:
    """A small world: a ring whose edges have been rewired (Watts & Strogatz 1998, figure 1).

    Every node is joined to its `degree` nearest in the ring; then, distance by distance and node
    by node, an edge gets another far end with probability `rewire`, so that no edge is there
    twice. Drawn again until all nodes hang together.

    Args:
        nodes: more than `degree`.
        degree: even, 2 or more.
        rewire: 0 to 1.
        draw: where chance comes from.

    Raises:
        ValueError: no graph of two hundred hangs together.
    """
    return _connected(lambda: _small_world(nodes, degree, rewire, draw))


def _small_world(nodes: int, degree: int, rewire: float, draw: Random) -> Tensor:
    ring = range(1, degree // 2 + 1)
    joined = [
        {(node + far) % nodes for far in (*ring, *(-far for far in ring))} for node in range(nodes)
    ]
    for far in ring:
        for node in range(nodes):
            old = (node + far) % nodes
            if draw.random() >= rewire or len(joined[node]) == nodes - 1:
                continue
            new = draw.randrange(nodes)
            while new == node or new in joined[node]:
                new = draw.randrange(nodes)
            joined[node].remove(old)
            joined[old].remove(node)
            joined[node].add(new)
            joined[new].add(node)
    return _adjacency(joined)


def barabasi_albert(nodes: int, degree: int, rewire: float, draw: Random) -> Tensor:
    """A network of few hubs, grown by preferential attachment (Barabási & Albert 1999).

    It begins as a star of one node and `degree / 2` others. Every further node is joined to
    `degree / 2` of those that are there, each chosen in proportion to how many edges it has.

    Args:
        nodes: more than `degree / 2`.
        degree: even, 2 or more; nodes have as many edges in the mean, the few of the beginning
            left aside.
        rewire: means nothing here.
        draw: where chance comes from.
    """
    each = degree // 2
    joined: list[set[int]] = [set(range(1, each + 1)), *({0} for _ in range(each))]
    ends = [end for node, others in enumerate(joined) for end in [node] * len(others)]
    for node in range(each + 1, nodes):
        others: set[int] = set()
        while len(others) < each:
            others.add(ends[draw.randrange(len(ends))])
        for other in sorted(others):
            joined[other].add(node)
            ends += [other, node]
        joined.append(others)
    return _adjacency(joined)


def erdos_renyi(nodes: int, degree: int, rewire: float, draw: Random) -> Tensor:
    """No structure: `nodes · degree / 2` edges at random (Erdős & Rényi 1959).

    Drawn again until all nodes hang together.

    Args:
        nodes: more than `degree`.
        degree: even, 2 or more: the mean.
        rewire: means nothing here.
        draw: where chance comes from.

    Raises:
        ValueError: no graph of two hundred hangs together.
    """
    pairs = list(combinations(range(nodes), 2))

    def graph() -> Tensor:
        joined: list[set[int]] = [set() for _ in range(nodes)]
        for one, other in draw.sample(pairs, nodes * degree // 2):
            joined[one].add(other)
            joined[other].add(one)
        return _adjacency(joined)

    return _connected(graph)


GRAPHS: dict[str, Callable[[int, int, float, Random], Tensor]] = {
    "watts_strogatz": watts_strogatz,
    "barabasi_albert": barabasi_albert,
    "erdos_renyi": erdos_renyi,
}


def distances(graph: Tensor) -> Tensor:
    """(n, n) float64: edges on the shortest path between two nodes; infinite without a path."""
    far = torch.where(torch.eye(len(graph), dtype=torch.bool), 0.0, torch.inf).double()
    for step in range(1, len(graph)):
        next_to = far.isfinite().double() @ graph.double() > 0
        new = next_to & far.isinf()
        if not bool(new.any()):
            break
        far = far.masked_fill(new, step)
    return far


def shape_of(graph: Tensor) -> dict[str, float]:
    """What is said of a graph of two and more nodes, by name.

    `degree sd` is the deviation of how many edges a node has;
    `clustering` is the mean share of a node's pairs of neighbours that are joined (Watts &
    Strogatz 1998), 0 for nodes of one neighbour; `path length` is the mean distance of two nodes.
    """
    edges = graph.double()
    degree = edges.sum(1)
    pairs = degree * (degree - 1)
    closed = (edges @ edges @ edges).diagonal()  # twice the triangles at each node
    nodes = len(graph)
    return {
        "degree sd": float(degree.std(correction=0)),
        "clustering": float((closed / pairs.clamp(min=1)).mean()),
        "path length": float(distances(graph).sum() / (nodes * (nodes - 1))),
    }


def _connected(drawn: Callable[[], Tensor]) -> Tensor:
    for _ in range(_TRIES):
        graph = drawn()
        if bool(distances(graph).isfinite().all()):
            return graph
    raise ValueError(f"none of {_TRIES} graphs of {len(graph)} nodes hangs together")


def _adjacency(joined: list[set[int]]) -> Tensor:
    graph = torch.zeros((len(joined), len(joined)), dtype=torch.bool)
    for node, others in enumerate(joined):
        graph[node, sorted(others)] = True
    return graph
