"""Examples that are mostly zero train the weights that they would as dense ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from privaudit import (
    Examples,
    Model,
    Sparsifier,
    Weights,
)
from privaudit.cohort import Cohort
from privaudit.train.dataset import DeviceDataset
from privaudit.train.sparse import SparseTable
from privaudit.train.ways.chain_step import sparse_layer
from privaudit_plugins.defenses.relaxloss import RelaxLoss
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]


class HalfRows(Sparsifier):
    """After each step, the smaller half of every unit's weights is zero."""

    name: Literal["half_rows"] = "half_rows"

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """By rows, so that it matters how a matrix lies."""
        matrices = {n: w for n, w in weights.items() if w.ndim == 2}
        return {
            n: w * (w.abs() >= w.abs().median(1, keepdim=True).values) for n, w in matrices.items()
        }


class NoBias(Model):
    name: Literal["no_bias"] = "no_bias"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(64, 40, bias=False), nn.Sigmoid(), nn.Linear(40, classes))


@pytest.fixture(scope="module")
def table(digits: Examples) -> Examples:
    """The brightest pixels of 300 digits, with a column and an example of nothing but zeros."""
    x = digits.x.float().flatten(1)
    x = torch.where(x > 13, x / 16, 0)
    x[7] = 0
    assert 0.05 < float((x != 0).double().mean()) < 0.25
    assert bool((x == 0).all(0).any())
    return replace(digits, x=x, mean=torch.tensor(0.0), std=torch.tensor(0.5), augmentation=None)


CASES: dict[str, dict[str, Any]] = {
    "momentum": {"model": MLP(hidden=(48, 16), dropout=0.2), "momentum": 0.9, "patience": 1},
    "no momentum": {"model": NoBias(), "weight_decay": 0.01},
    "decay": {"model": NoBias(), "weight_decay": 0.01, "momentum": 0.8, "schedule": "cosine"},
    "adam": {"model": MLP(hidden=(16,)), "optimizer": "adam", "lr": 0.01},
    "a loss of its own": {"model": MLP(hidden=(16,)), "defense": RelaxLoss(alpha=0.5)},
    "a projection": {"model": MLP(hidden=(16,)), "sparsifier": HalfRows(), "momentum": 0.9},
    "logistic regression": {"model": MLP(hidden=()), "momentum": 0.9},
}


@pytest.mark.parametrize("stack", [1, 2, 3])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_sparse_examples_give_the_weights_of_dense_ones(
    make_cohort: Make,
    table: Examples,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    stack: int,
) -> None:
    cohorts = []
    for sparse in (True, False):
        if not sparse:
            monkeypatch.setattr(DeviceDataset, "sparse", None)
        given = {"epochs": 3, "stack": stack, "examples": table} | options
        cohort = make_cohort(MEMBERS, **given)
        assert bool(_sparse_layer(cohort)) == sparse
        cohort.fit()
        cohort.prune(keep=0.7)
        cohort.fit()
        cohorts.append(cohort)
    for one, other in zip(cohorts[0].states(), cohorts[1].states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-11
        assert (one.flat == 0).equal(other.flat == 0)
    for cohort in cohorts:
        cohort.rewind("best")
    first, second = (cohort.logits() for cohort in cohorts)
    assert (first - second).abs().max() < 1e-10


def test_models_stopped_at_an_accuracy_are_the_same(
    make_cohort: Make, table: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    rows = torch.zeros(3, len(table), dtype=torch.bool)
    rows[:, :100] = True
    for sparse in (True, False):
        if not sparse:
            monkeypatch.setattr(DeviceDataset, "sparse", None)
        cohort = make_cohort(MEMBERS, examples=table, epochs=5, model=MLP(hidden=(16,)))
        (control,) = cohort.match(rows, torch.full((3, 1), 0.5, dtype=torch.float64))
        states.append(control.states())
    for one, other in zip(*states, strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-11


def test_only_a_linear_layer_of_mostly_zeros_is_met_so(
    make_cohort: Make, table: Examples, digits: Examples
) -> None:
    dense = replace(table, mean=torch.tensor(1.0))
    images = replace(table, x=table.x.view(-1, 1, 8, 8))
    assert _sparse_layer(make_cohort(examples=table, model=MLP())) == "hidden1.weight"
    assert _sparse_layer(make_cohort(examples=images, model=MLP())) == "hidden1.weight"
    assert _sparse_layer(make_cohort(examples=images, model=CNN(width=4))) is None
    assert _sparse_layer(make_cohort(examples=dense, model=MLP())) is None
    shifted = replace(images, augmentation=digits.augmentation)
    assert _sparse_layer(make_cohort(examples=shifted, model=MLP())) is not None
    assert _sparse_layer(make_cohort(examples=shifted, model=MLP(), augment=True)) is None


def test_batches_hold_the_examples_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 9, generator=generator).relu()
    x[3] = 0
    rows = torch.randint(0, 50, (2, 5, 4), generator=generator)
    rows[0, 2] = 3  # a batch of nothing
    for at_once in (1, 60, 2**20):
        monkeypatch.setattr("privaudit.train.sparse._NUMBERS", at_once)
        steps = list(SparseTable(x).batches(rows))
        assert len(steps) == 5
        for s, step in enumerate(steps):
            for k in range(2):
                drawn = x[rows[k, s]]
                assert torch.equal(step.examples[k].product(torch.eye(9)), drawn)
                assert torch.equal(step.columns[k].product(torch.eye(4)), drawn.T)


def _sparse_layer(cohort: Cohort) -> str | None:
    fit = cohort._fit(False, None, {})
    return sparse_layer(fit.objective, cohort._data, fit.options)
