"""Where every channel of a network comes from and who reads it, found by tracing with torch.fx.

Whatever is not understood makes channels unknown, and a network that cannot be traced has no
units at all: too little is found, never too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from privaudit.channels.flow import (
    PASS,
    PASS_NAMES,
    POOL_LAYERS,
    POOLS,
    Flow,
    Sources,
    added,
    averaged,
    concatenated,
    flattened,
    pooled,
)
from privaudit.channels.trace import Tracer, called, given, is_node, keeps_batch, overwrites

ALIVE = 0  # the unit that stands for everything unknown: it is never zero and always needed

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}  # axes
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LOOKS = {"size", "dim", "shape", "ndim", "dtype", "device"}  # at a tensor, not into it


@dataclass(frozen=True)
class Wiring:
    """How U units hang together; unit 0 is `ALIVE`, which belongs to no layer.

    Attributes:
        units: the outputs of each layer, (outputs,) int64, in the order of the calls.
        columns: for each layer that reads channels of known origin, (inputs, S) int64: an input
            is zero if all of its units are; units repeat to fill rows.
        fed: (U, S) int64: a BatchNorm channel has no effect if all of these are zero.
        used: (U, S) int64: a unit has no effect if all of these have none.
        group: (U,) int64: units of a group leave the network together or not at all; those in
            the group of unit 0 cannot leave.
    """

    units: dict[str, Tensor]
    columns: dict[str, Tensor]
    fed: Tensor
    used: Tensor
    group: Tensor


def wire(module: nn.Module) -> Wiring:
    """The wiring of a network; of one that cannot be traced, a wiring without units."""
    try:
        walk = _Walk(module, Tracer().trace(module))
    except Exception:  # a forward that runs on placeholders may raise anything
        walk = _Walk(module, fx.Graph())
    return walk.wiring()


class _OverwritesError(Exception):
    """The network changes a tensor that may be read under another name."""


class _Walk:
    """Follows channels through a graph, call by call."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        self.layers = dict(module.named_modules())
        self.flows: dict[fx.Node, Flow] = {}
        self.units: dict[str, range] = {}
        self.columns: dict[str, Sequence[Sources]] = {}
        self.fed: list[Sources] = [frozenset({ALIVE})]
        self.used: list[set[int]] = [{ALIVE}]
        self.joined: set[Sources] = set()
        self.plain = _called_once(module, graph)
        for node in graph.nodes:
            self.flows[node] = self._visit(node)

    def wiring(self) -> Wiring:
        return Wiring(
            units={n: torch.arange(r.start, r.stop) for n, r in self.units.items()},
            columns={n: _table(c) for n, c in self.columns.items()},
            fed=_table(self.fed),
            used=_table([readers or {ALIVE} for readers in self.used]),
            group=_groups(len(self.fed), self.joined),
        )

    def _visit(self, node: fx.Node) -> Flow:
        result = None
        if called(node) in ("cat", "concat"):
            result = self._concatenated(node)
        elif is_node(*node.args[:1]):
            x = self.flows[node.args[0]]  # type: ignore[index]
            if node.op == "call_module" and len(node.all_input_nodes) == 1:
                result = self._layer(str(node.target), x)
            elif node.op in ("call_function", "call_method"):
                result = self._function(node, called(node), x)
        if result is None:
            if overwrites(node, self.layers):
                raise _OverwritesError
            for input_node in node.all_input_nodes:
                self._lose(self.flows[input_node])
        return result or Flow()

    def _layer(self, name: str, x: Flow) -> Flow | None:
        layer = self.layers[name]
        kind = type(layer)
        if kind in PASS:
            return x
        if kind in POOL_LAYERS:
            pairs = getattr(layer, "return_indices", False)
            return None if pairs else pooled(x, POOL_LAYERS[kind])
        if isinstance(layer, nn.Flatten):
            return flattened(x) if (layer.start_dim, layer.end_dim) == (1, -1) else None
        if name not in self.plain:
            return None
        if isinstance(layer, NORMS):
            return self._norm(name, layer, x) if kind in NORMS and layer.affine else None
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and kind in CONVOLUTIONS:
            axis = -CONVOLUTIONS[kind] - 1
            aligned = x.leads and x.axis == axis and layer.groups == 1
            self._read(name, x, x.filling(layer.in_channels) if aligned else None)
            made = Flow(self._make(name, layer.out_channels), axis, 1 - axis)
            if layer.groups > 1:  # whose filters have to stay equally many in each group
                self._lose(made)
            return made
        if isinstance(layer, nn.Linear) and kind is nn.Linear:
            self._read(name, x, x.filling(layer.in_features) if x.axis == -1 else None)
            return Flow(self._make(name, layer.out_features), -1, x.rank)
        return None

    def _norm(self, name: str, layer: Any, x: Flow) -> Flow | None:
        columns = x.filling(layer.num_features) if x.leads else None
        if columns is None:
            return None
        made = self._make(name, len(columns), columns)
        for made_units, sources in zip(made, columns, strict=True):
            self.joined.add(made_units | sources)
            for source in sources:
                self.used[source] |= made_units
        return replace(x, channels=made, spread=False)

    def _make(
        self, name: str, count: int, fed: Sequence[Sources] | None = None
    ) -> tuple[Sources, ...]:
        start = len(self.fed)
        self.units[name] = range(start, start + count)
        self.fed += fed or [frozenset({ALIVE})] * count
        self.used += [set() for _ in range(count)]
        return tuple(frozenset({unit}) for unit in self.units[name])

    def _read(self, name: str, x: Flow, columns: Sequence[Sources] | None) -> None:
        if columns is None:
            self._lose(x)
            return
        self.columns[name] = columns
        for sources in columns:
            self._need(sources, sources)

    def _lose(self, x: Flow) -> None:
        """Something reads channels that is not understood: they can never leave."""
        for sources in x.channels or ():
            self._need(sources, sources | {ALIVE})

    def _need(self, sources: Sources, together: Sources) -> None:
        self.joined.add(together)
        for source in sources:
            self.used[source].add(ALIVE)

    def _function(self, node: fx.Node, name: str, x: Flow) -> Flow | None:
        alone = len(node.all_input_nodes) == 1
        if name in _LOOKS or (name == "getattr" and node.args[1] in _LOOKS):
            return Flow()
        if name in PASS_NAMES and alone:
            return x
        if name in POOLS and alone and not node.kwargs.get("return_indices"):
            return pooled(x, POOLS[name])
        if name == "mean" and alone:
            return averaged(x, *given(node, dim=None, keepdim=False))
        if name == "flatten" and alone:
            return flattened(x) if given(node, start_dim=0, end_dim=-1) == [1, -1] else None
        if name in ("view", "reshape"):
            return flattened(x) if keeps_batch(node) else None
        if name in ("add", "iadd") and len(node.args) == 2 and is_node(*node.args):
            if name == "iadd" and not self._fresh(node.args[0]):
                return None
            return added(x, self.flows[node.args[1]])  # type: ignore[index]
        return None

    def _concatenated(self, node: fx.Node) -> Flow | None:
        tensors, dim = [node.args[0] if node.args else None, *given(node, dim=0)]
        if not isinstance(tensors, list | tuple) or not is_node(*tensors):
            return None
        return concatenated([self.flows[t] for t in tensors], dim)

    def _fresh(self, node: Any) -> bool:
        """Whether nothing else reads a tensor, nor what it comes from as far as its layer."""
        while len(node.users) == 1 and node.target not in self.units:
            if not is_node(*node.args[:1]):
                return False
            node = node.args[0]
        return len(node.users) == 1


def _called_once(module: nn.Module, graph: fx.Graph) -> set[str]:
    """Layers that are called once, and whose weights nothing else touches."""
    calls = Counter(str(n.target) for n in graph.nodes if n.op == "call_module")
    touched = {str(n.target).rpartition(".")[0] for n in graph.nodes if n.op == "get_attr"}
    named = list(module.named_parameters(remove_duplicate=False))
    owners = Counter(id(p) for _, p in named)
    touched |= {n.rpartition(".")[0] for n, p in named if owners[id(p)] > 1}
    return {name for name, count in calls.items() if count == 1} - touched


def _table(rows: Sequence[Iterable[int]]) -> Tensor:
    """Sets as rows of equal length, (rows, S) int64, an element of each repeated to fill it."""
    lists = [sorted(row) for row in rows]
    width = max(map(len, lists), default=1)
    filled = [row + row[:1] * (width - len(row)) for row in lists]
    return torch.tensor(filled, dtype=torch.int64).reshape(len(lists), width)


def _groups(count: int, joined: Iterable[Sources]) -> Tensor:
    """(U,) the group of each unit: those in one set share a group, named by its smallest."""
    parent = list(range(count))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    for sources in joined:
        roots = {root(unit) for unit in sources}
        for other in roots:
            parent[other] = min(roots)
    return torch.tensor([root(unit) for unit in range(count)])
