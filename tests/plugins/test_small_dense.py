"""The narrower dense network: its size, its widths and its fresh weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from privaudit import (
    Model,
    RecipeError,
)
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vgg16_bn import VGG16
from privaudit_plugins.sparsifiers.small_dense import SmallDense

Make = Callable[..., Cohort]


def narrow(model: Model, density: float, shape: tuple[int, ...] = (1, 8, 8)) -> nn.Module:
    torch.manual_seed(0)
    return SmallDense(density=density).prepare(model.build(shape, 10))


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("density", [0.9, 0.5, 0.1, 0.01])
def test_a_hidden_layer_is_as_wide_as_the_density_allows(density: float) -> None:
    module = narrow(MLP(hidden=(128,)), density)
    widths = [h for h in range(1, 129) if 64 * h + h + 10 * h + 10 <= density * 9610]
    assert module.get_parameter("hidden1.weight").shape == (max(widths), 64)
    assert module.get_parameter("output.weight").shape == (10, max(widths))


@pytest.mark.parametrize("density", [0.7, 0.3, 0.05])
def test_all_layers_have_the_same_share_of_their_width(density: float) -> None:
    def parameters(share: float) -> int:
        first, second = (max(1, round(share * width)) for width in (16, 32))
        return 9 * first + first + 9 * first * second + second + 40 * second + 10

    module = narrow(CNN(width=16), density)
    share = max(s / 1000 for s in range(1, 1001) if parameters(s / 1000) <= density * parameters(1))
    assert size(module) == parameters(share)
    first, second = (len(module.get_parameter(f"conv{n}.weight")) for n in (1, 2))
    assert (first, second) == (max(1, round(16 * share)), max(1, round(32 * share)))


@pytest.mark.parametrize(
    "model",
    [ResNet20(), DenseNet40(growth=6, depth=13), VGG16(width=8), CNN(norm="batch")],
    ids=lambda m: m.name,
)
def test_deep_networks_narrow_and_train(model: Model) -> None:
    full = size(model.build((3, 8, 8), 10))
    module = narrow(model, 0.4, (3, 8, 8))
    assert 0.3 * full < size(module) <= 0.4 * full
    logits = module(torch.randn(4, 3, 8, 8))
    assert logits.shape == (4, 10)
    torch.autograd.backward(logits.sum())
    first, *rest = module.parameters()
    assert first.shape[1] == 3
    assert rest[-1].shape == (10,)


def test_a_narrow_resnet_is_half_as_wide_everywhere_at_a_quarter_of_the_weights() -> None:
    module = narrow(ResNet20(), 0.25, (3, 32, 32))
    share = len(module.get_parameter("segment3.0.conv1.weight")) / 64
    assert share == pytest.approx(0.5, abs=0.03)
    first, second, third = (round(share * width) for width in (16, 32, 64))
    assert module.get_parameter("stem.weight").shape[:2] == (first, 3)
    assert module.get_parameter("segment1.2.conv2.weight").shape[:2] == (first, first)
    assert module.get_parameter("segment3.0.conv1.weight").shape[:2] == (third, second)
    assert module.get_parameter("segment3.0.shortcut.0.weight").shape[:2] == (third, second)
    assert module.get_parameter("output.weight").shape == (10, third)
    assert module.segments == ResNet20().build((3, 32, 32), 10).segments


def test_weights_start_as_layers_of_that_width_do() -> None:
    """Torch draws weights and biases of both kinds of layer from ±1 / sqrt(inputs)."""
    module = narrow(CNN(width=64), 0.2)
    for name in ("conv1", "conv2", "output"):
        weight = module.get_parameter(f"{name}.weight")
        bound = weight[0].numel() ** -0.5
        assert weight.abs().max() <= bound
        assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.12)


def test_three_models_together_are_three_alone(make_cohort: Make) -> None:
    options = {"model": CNN(width=4, norm="batch"), "sparsifier": SmallDense(density=0.4)}
    together = make_cohort([40, 33, 20], stack=3, **options)
    start = together.weights["conv1.weight"]
    assert not torch.equal(start[0], start[1])
    assert list(SmallDense(density=0.4).sparsify(together)) == [""]
    assert bool((together.density() <= 0.4).all())
    assert bool((together.density() > 0.3).all())
    for m in range(3):
        alone = make_cohort([40, 33, 20], models=[m], **options)
        list(SmallDense(density=0.4).sparsify(alone))
        for name, weight in alone.weights.items():
            assert (together.weights[name][m] - weight[0]).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("model", "density", "message"),
    [
        (MLP(hidden=()), 0.5, "has 1 of its parameters at the least, because no channel"),
        (MLP(hidden=(4,)), 0.2, r"density 0\.2 is out of reach.*has 0\.274 of its"),
    ],
)
def test_a_density_out_of_reach_is_refused(model: Model, density: float, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        narrow(model, density)
