"""The way of CUDA graphs, unrecorded: the same step in the same memory, on any device."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from privaudit import Model
from privaudit.cohort import Cohort
from privaudit.train.ways import choose
from privaudit.train.ways.graph import _drawing_nothing, _Given, graph_suits
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.defenses.mixup import Mixup
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers.butterfly import Butterfly
from privaudit_plugins.sparsifiers.monarch import Monarch
from privaudit_plugins.sparsifiers.slimming import Slimming

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]

CASES: dict[str, dict[str, Any]] = {
    "dropout, and an end of each model's own": {
        "model": MLP(hidden=(48, 16), dropout=0.2), "patience": 1, "epochs": 4,
    },
    "BatchNorm, and an end of each model's own": {
        "model": CNN(width=2, norm="batch"), "patience": 1, "epochs": 5, "momentum": 0.9,
    },
    "a residual network": {"model": ResNet20(), "epochs": 2},
    "a penalty": {
        "model": CNN(width=2, norm="batch"), "sparsifier": Slimming(), "optimizer": "adam",
    },
    "a projection": {"model": MLP(hidden=(16,)), "sparsifier": Butterfly()},
    "two factors": {"model": CNN(width=2), "sparsifier": Monarch()},
    "gradients of single examples": {"model": MLP(hidden=(16,)), "defense": DPSGD()},
    "a companion": {"model": MLP(hidden=(16,)), "defense": MinMax()},
    "inputs of its own": {"model": MLP(hidden=(16,)), "defense": Mixup()},
}  # fmt: skip


@pytest.fixture
def by_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choose._SUITS, "graph", lambda *given: True)


def trained(make_cohort: Make, **options: Any) -> tuple[Cohort, str]:
    cohort = make_cohort(MEMBERS, **{"epochs": 3, "stack": 3, "lr": 0.05} | options)
    cohort.prune(keep=0.7)
    cohort.fit()
    (way,) = cohort._fits._ways.values()
    return cohort, way


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_a_step_in_memory_of_its_own_gives_the_weights_of_the_plain_one(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    for way in ("chain", "vmapped"):
        monkeypatch.setitem(choose._SUITS, way, lambda *given: False)
    plain, way = trained(make_cohort, **options)
    assert way == "plain"
    monkeypatch.setitem(choose._SUITS, "graph", lambda *given: True)
    graph, way = trained(make_cohort, **options)
    assert way == "graph"
    for one, other in zip(plain.states(), graph.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-10
        for name, buffer in one.buffers.items():
            assert (buffer - other.buffers[name]).abs().max() < 1e-10, name


def test_a_step_reads_and_writes_where_a_recording_would(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, by_graphs: None
) -> None:
    """One place for each shape of batch, whatever the loop hands over."""
    read: dict[tuple[object, ...], set[int]] = {}
    one = _Given.one

    def watched(self: _Given, model: int) -> Any:
        state, batch = one(self, model)
        for name, tensor in (("flat", state.flat), ("x", batch.x), ("key", batch.key)):
            read.setdefault((name, model, batch.x.shape), set()).add(tensor.data_ptr())
        return state, batch

    trained(make_cohort, model=CNN(width=2, norm="batch"), batch_size=16, stack=3)
    read.clear()
    monkeypatch.setattr(_Given, "one", watched)
    cohort = make_cohort(MEMBERS, model=CNN(width=2, norm="batch"), batch_size=16, stack=3)
    monkeypatch.setattr(cohort._fits, "_way", lambda *given: "graph")
    cohort.fit()
    assert {model for _, model, _ in read} == {0, 1, 2}
    assert {name: len(places) for name, places in read.items()} == dict.fromkeys(read, 1)


class Drawing(Model):
    """Draws from torch's global generator."""

    name: Literal["drawing"] = "drawing"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return _Drawing(classes)


class _Drawing(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.output(dropout(x.flatten(1), 0.1, self.training))
        return answer


def test_what_draws_from_a_global_generator_is_not_recorded(
    make_cohort: Make, by_graphs: None
) -> None:
    assert trained(make_cohort, model=Drawing())[1] == "plain"


@pytest.mark.parametrize(
    "draw", [random.random, np.random.random, lambda: torch.rand(1), lambda: torch.randperm(3)]
)
def test_a_draw_is_noticed_even_where_it_changes_nothing(draw: Callable[[], object]) -> None:
    with _drawing_nothing():
        torch.rand(1, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="global generator"), _drawing_nothing():
        draw()


def test_without_cuda_nothing_is_recorded(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, model=ResNet20())
    fit = cohort._fit(False, None, {})
    assert not graph_suits(fit.objective, cohort._data, fit.options)
    assert torch.cuda.is_available() or trained(make_cohort, model=CNN(width=2))[1] != "graph"
