"""Every way of computing a stacked step gives the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from privaudit import (
    Examples,
    Model,
    PrivauditError,
    Sparsifier,
    Weights,
)
from privaudit.cohort import Cohort
from privaudit.optimizers import SGD
from privaudit.store.units import Unit
from privaudit.train import fitting
from privaudit.train.fit import Fit, train_units
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways import choose
from privaudit.train.ways.chain_step import chain_of
from privaudit.train.ways.layers import pool
from privaudit.train.ways.passing import Pass
from privaudit_plugins.defenses.mixup import Mixup
from privaudit_plugins.defenses.relaxloss import RelaxLoss
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers.butterfly import Butterfly
from privaudit_plugins.sparsifiers.monarch import Monarch

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]


class Nested(Model):
    """Chains in chains, a layer without bias, and more than one kind of activation."""

    name: Literal["nested"] = "nested"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        first = nn.Sequential(nn.Linear(64, 40, bias=False), nn.Tanh(), nn.Dropout(0.3))
        second = nn.Sequential(nn.Linear(40, 12), nn.GELU(), nn.Identity(), nn.Dropout(0.1))
        return nn.Sequential(nn.Flatten(), first, second, nn.Linear(12, classes))


class Images(Model):
    """Every kind of layer of images, on sides that pooling does not divide."""

    name: Literal["images"] = "images"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=1, bias=False),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 6, 2, padding=1, dilation=2),
            nn.Dropout(0.2),
            nn.BatchNorm2d(6, momentum=0.3),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(54, classes),
        )


class Twice(Model):
    """One layer used twice: no chain."""

    name: Literal["twice"] = "twice"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        layer = nn.Linear(64, 64)
        return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(64, classes))


class Block(nn.Module):
    """A convolution with BatchNorm beside the identity."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.output = nn.Linear(192, classes)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.output((self.inner(x) + x).flatten(1))
        return answer


class Residual(Model):
    name: Literal["residual"] = "residual"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return Block(classes)


class Own(nn.Sequential):
    """A sequence that does something else."""

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = -nn.Sequential.forward(self, x)  # type: ignore[no-untyped-call]
        return answer


class Negative(Model):
    name: Literal["negative"] = "negative"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return Own(nn.Flatten(), nn.Linear(64, classes))


class Ridge(Sparsifier):
    name: Literal["ridge"] = "ridge"

    def penalty(self, weights: Weights) -> Tensor:
        return torch.stack([w.square().sum() for w in weights.values()]).sum() / 50


CASES: dict[str, dict[str, Any]] = {
    "perceptron": {"model": MLP(hidden=(48, 16), dropout=0.2), "augment": True, "patience": 1},
    "nested": {"model": Nested(), "momentum": 0.5, "weight_decay": 0.01},
    "a loss of its own": {"model": MLP(hidden=(16,)), "defense": RelaxLoss(alpha=0.5)},
    "convolutions": {"model": CNN(width=4), "augment": True},
    "batchnorm and dropout of images": {"model": Images(), "momentum": 0.9, "patience": 1},
    "a penalty beside momentum": {
        "model": MLP(hidden=(16,)),
        "sparsifier": Ridge(),
        "momentum": 0.9,
    },
    "a penalty": {"model": MLP(hidden=(16,)), "sparsifier": Ridge(), "optimizer": "adam"},
}


@pytest.mark.parametrize("stack", [1, 2, 3])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_batched_products_give_the_weights_of_vmap(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], stack: int
) -> None:
    cohorts = []
    for batched in (True, False):
        if not batched:
            monkeypatch.setattr(choose, "chain_of", lambda *given: None)
        cohort = make_cohort(MEMBERS, **{"epochs": 3, "stack": stack, "lr": 0.05} | options)
        assert _is_batched(cohort)
        cohort.prune(keep=0.7)
        cohort.fit()
        cohorts.append(cohort)
    for one, other in zip(cohorts[0].states(), cohorts[1].states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-11
        for name, buffer in one.buffers.items():
            assert (buffer - other.buffers[name]).abs().max() < 1e-11, name


@pytest.mark.parametrize(
    "options",
    [
        {"model": ResNet20()},
        {"model": Twice()},
        {"model": Negative()},
        {"model": MLP(hidden=(16,)), "sparsifier": Butterfly()},
        {"model": MLP(hidden=(16,)), "sparsifier": Monarch()},
        {"model": MLP(hidden=(16,)), "defense": Mixup()},
    ],
    ids=[
        "residual",
        "used twice",
        "a sequence of its own",
        "butterfly",
        "monarch",
        "inputs",
    ],
)
def test_what_is_no_plain_chain_is_left_to_vmap(make_cohort: Make, options: dict[str, Any]) -> None:
    assert not _is_batched(make_cohort(**options))


def test_pooling_gives_the_gradient_of_pytorch_s_where_pixels_are_equal() -> None:
    x = torch.randint(0, 3, (2, 6, 5, 7), generator=torch.Generator().manual_seed(0)).double()
    weight = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    own = x.clone().requires_grad_()
    expected = nn.MaxPool2d(2)(own)
    (gradient,) = torch.autograd.grad((expected * weight).sum(), own)
    way = Pass({}, {}, torch.zeros(2, dtype=torch.int64), Optimizer({}, SGD()))
    way.back.append(lambda gradient: gradient)  # as if a layer with weights came before
    assert torch.equal(pool(way, "", nn.MaxPool2d(2), x), expected)
    found = way.back[-1](weight)
    assert found is not None
    assert torch.equal(found, gradient)


def _is_batched(cohort: Cohort) -> bool:
    fit = cohort._fit(False, None, {})
    return chain_of(fit.objective, cohort._data, fit.options) is not None


def test_a_stack_too_large_for_the_memory_is_halved(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_cohort(MEMBERS, epochs=2)
    whole.fit()

    def short_of_memory(fit: Fit, *others: Any) -> list[Unit]:
        if len(fit.rows) > 1:
            raise torch.OutOfMemoryError
        return train_units(fit, *others)

    monkeypatch.setattr(fitting, "train_units", short_of_memory)
    halved = make_cohort(MEMBERS, epochs=2)
    halved.fit()
    for one, other in zip(whole.states(), halved.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-12
    assert "3 models are too many" in caplog.messages[0]

    def nothing_fits(fit: Fit, *others: Any) -> list[Unit]:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(fitting, "train_units", nothing_fits)
    with pytest.raises(PrivauditError, match=r"not enough memory.*batch_size"):
        make_cohort([20], epochs=2).fit()


def test_bf16_learns_what_fp32_does(make_cohort: Make) -> None:
    options = {"model": MLP(hidden=(32,)), "epochs": 12, "lr": 0.05, "momentum": 0.9}
    accuracies = []
    for precision in ("fp32", "auto", "bf16"):
        cohort = make_cohort([100, 100], precision=precision, **options)
        cohort.fit()
        assert cohort.weights["hidden1.weight"].dtype == torch.float32
        right = cohort.logits().argmax(-1) == cohort.data.y
        accuracies.append(float(right.double().mean()))
    assert accuracies[0] == accuracies[1]  # on a CPU, auto is fp32
    assert accuracies[0] > 0.8
    assert abs(accuracies[0] - accuracies[2]) < 0.03


def test_a_compiled_step_gives_the_same_weights(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and differentiated by the compiler, but without its half minute of writing C++."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    for options in ({"model": MLP(hidden=(16,), dropout=0.2)}, {"model": Residual()}):
        found = []
        for compiled in (False, True):
            cohort = make_cohort(MEMBERS, compile=compiled, **options)
            cohort.fit()
            found.append(cohort.states())
        for one, other in zip(*found, strict=True):
            assert (one.flat - other.flat).abs().max() < 1e-11


def test_a_cohort_leaves_its_examples_as_they_are(make_cohort: Make, digits: Examples) -> None:
    features = replace(digits, x=digits.x.float().flatten(1), augmentation=None)
    before = features.x.clone()
    cohort = make_cohort(MEMBERS, examples=features, precision="fp32")
    cohort.fit()
    cohort.logits(features.x[:3])
    assert torch.equal(features.x, before)
    assert torch.equal(cohort.data.plain(torch.arange(5)), (before[:5] - 8) / 8)
