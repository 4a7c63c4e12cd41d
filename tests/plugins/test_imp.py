"""Iterative magnitude pruning: what is pruned, how much, and where training restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from privaudit import (
    Examples,
    Model,
)
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers.imp import IterativeMagnitudePruning as Imp

Make = Callable[..., Cohort]


def imp(**options: Any) -> Imp:
    return Imp.model_validate(options)


def levels(cohort: Cohort, sparsifier: Imp) -> list[tuple[str, dict[str, Tensor]]]:
    """Label and weights of each level."""
    return [(label, cohort.weights) for label in sparsifier.sparsify(cohort)]


def nonzero(weights: dict[str, Tensor], names: list[str]) -> list[int]:
    count = len(next(iter(weights.values())))
    return [sum(int((weights[n][m] != 0).sum()) for n in names) for m in range(count)]


@pytest.fixture
def cohort(make_cohort: Make) -> Cohort:
    return make_cohort([40, 33, 20], model=CNN(width=4, norm="batch"), epochs=3)


def test_every_round_is_a_level_with_a_fifth_less(cohort: Cohort) -> None:
    found = levels(cohort, imp(rounds=4))
    assert [label for label, _ in found] == [f"round {r}" for r in range(5)]
    prunable = ["conv1.weight", "conv2.weight", "output.weight"]
    left = 4 * 9 + 8 * 4 * 9 + 8 * 4 * 10
    for _, weights in found:
        assert nonzero(weights, prunable) == [left] * 3
        left = round(0.8 * left)
        for name in set(weights) - set(prunable):
            assert int((weights[name] == 0).sum()) <= (24 if "norm" in name else 0), name


def test_biases_and_batchnorm_are_never_pruned(cohort: Cohort) -> None:
    levels(cohort, imp(rounds=3, amount=0.9))
    for name, mask in cohort.masks.items():
        assert bool(mask.all()) == (not name.startswith(("conv", "output.weight"))), name


def test_what_goes_is_smallest_of_all_layers_at_the_best_epoch(cohort: Cohort) -> None:
    found = levels(cohort, imp(rounds=1, amount=0.5))
    names = ["conv1.weight", "conv2.weight", "output.weight"]
    dense = found[0][1]
    for m in range(3):
        values = torch.cat([dense[n][m].abs().flatten() for n in names])
        threshold = values.sort().values[len(values) // 2]
        for name in names:
            assert torch.equal(cohort.masks[name][m], dense[name][m].abs() >= threshold)


@pytest.mark.parametrize(
    ("options", "spared"),
    [
        ({"keep_first": True}, ["conv1.weight"]),
        ({"keep_last": True}, ["output.weight"]),
        ({"keep_first": True, "keep_last": True}, ["conv1.weight", "output.weight"]),
    ],
)
def test_first_and_last_layer_can_be_spared(
    cohort: Cohort, options: dict[str, bool], spared: list[str]
) -> None:
    levels(cohort, imp(rounds=1, amount=0.6, **options))
    for name in ("conv1.weight", "conv2.weight", "output.weight"):
        assert bool(cohort.masks[name].all()) == (name in spared)
    assert float(cohort.masks["conv2.weight"].double().mean()) < 0.65


def test_a_network_whose_layers_are_all_spared_is_left_dense(make_cohort: Make) -> None:
    cohort = make_cohort(model=MLP(hidden=()))
    levels(cohort, imp(rounds=2, keep_first=True, keep_last=True))
    assert cohort.density().tolist() == [1.0, 1.0]


class Recorder:
    """Passes a cohort on to the script, and notes where each fit starts."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self.starts: list[dict[str, Tensor]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def fit(self) -> None:
        self.starts.append(self._cohort.weights)
        self._cohort.fit()


@pytest.mark.parametrize("rewind", ["best", "initial", {"epoch": 2}])
def test_training_restarts_where_the_recipe_says(
    make_cohort: Make, cohort: Cohort, rewind: str | dict[str, int]
) -> None:
    recorder = Recorder(cohort)
    script = imp(rounds=2, rewind=rewind).sparsify(recorder)  # type: ignore[arg-type]
    audited = [(cohort.weights, cohort.masks) for _ in script]
    early = make_cohort([40, 33, 20], model=CNN(width=4, norm="batch"), epochs=2)
    early.fit()
    for r in (1, 2):
        masks = audited[r][1]
        source = {"best": audited[r - 1][0], "initial": cohort.initial_weights}
        origin = source[rewind] if isinstance(rewind, str) else early.weights
        for name, weight in recorder.starts[r].items():
            assert (weight - origin[name] * masks[name]).abs().max() < 1e-12
            assert not bool(weight[~masks[name]].any())


def test_every_training_has_the_whole_schedule(cohort: Cohort) -> None:
    levels(cohort, imp(rounds=2))
    assert [record.epochs for record in cohort.records] == [3, 3, 3]


def test_resnet20_loses_a_fifth_of_its_weights_twenty_four_times(
    make_cohort: Make, digits: Examples
) -> None:
    """Gonon et al., section 4: 24 prunings; nothing is trained here, only counted."""
    model: Model = ResNet20()
    cohort = make_cohort([20], model=model, plan=True, precision="fp32")
    module = model.build(digits.shape, 10)
    total = sum(p.numel() for p in module.parameters())
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    left = sum(m.weight.numel() for m in layers)
    assert cohort.dense_parameters == total
    remaining = []
    for _ in imp(rounds=24).sparsify(cohort):
        remaining.append(sum(int(m.sum()) for n, m in cohort.masks.items()))
    expected, others = [], total - left
    for _ in range(25):
        expected.append(others + left)
        left = round(0.8 * left)
    assert remaining == expected


@pytest.mark.parametrize(
    "options",
    [{"amount": 0}, {"amount": 1}, {"rounds": -1}, {"rewind": "last"}, {"rewind": {"epoch": -1}}],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        imp(**options)
