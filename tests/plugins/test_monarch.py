"""Monarch matrices: against the definition written out, its shapes and what it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.linalg import block_diag
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

import privaudit
from privaudit.cohort import Cohort
from privaudit.networks.multiply_adds import multiply_adds
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers._monarch_layers import (
    MonarchConv2d,
    MonarchLinear,
    apply,
    matrix,
    sizes,
    usual_blocks,
)
from privaudit_plugins.sparsifiers.monarch import Monarch

Make = Callable[..., Cohort]


def factors(rows: int, columns: int, blocks: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(rows * 100 + columns)
    first, second = sizes(rows, columns, blocks)
    return torch.randn(first).double(), torch.randn(second).double()


@pytest.mark.parametrize("m", [2, 3, 5])
def test_a_square_matrix_is_p_l_p_r(m: int) -> None:
    """Definition 3.1 of the paper: M = P L Pᵀ R, L and R of √n blocks.

    P takes entry i·√n + j to j·√n + i: the transpose of the vector laid out as a matrix.
    """
    n = m * m
    r, l = factors(n, n, m)  # noqa: E741
    p = np.eye(n)[np.arange(n).reshape(m, m).T.ravel()]
    expected = p @ block_diag(*l.numpy()) @ p.T @ block_diag(*r.numpy())
    assert np.abs(matrix(r, l).numpy() - expected).max() < 1e-12


@pytest.mark.parametrize(("rows", "columns", "blocks"), [(6, 20, 2), (20, 6, 2), (12, 8, 4)])
def test_a_rectangle_is_what_the_paper_s_code_multiplies(
    rows: int, columns: int, blocks: int
) -> None:
    """Number j between the factors is the (j // blocks)-th input of block j mod blocks."""
    first, second = factors(rows, columns, blocks)
    q, p = first.shape[1:]
    s = second.shape[1]
    expected = torch.zeros(blocks * s, blocks * p).double()
    for j in range(blocks * q):
        for row in range(s):
            for column in range(p):
                expected[row * blocks + j % blocks, (j // q) * p + column] += (
                    second[j % blocks, row, j // blocks] * first[j // q, j % q, column]
                )
    assert (matrix(first, second) - expected).abs().max() < 1e-12
    x = torch.randn(7, blocks * p).double()
    assert (apply(first, second, x) - x @ expected.T).abs().max() < 1e-12


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (128, 64), (10, 37), (64, 576), (7, 12)])
def test_every_input_reaches_every_output_with_the_usual_blocks(rows: int, columns: int) -> None:
    blocks = usual_blocks(rows, columns)
    first, second = sizes(rows, columns, blocks)
    reached = matrix(torch.ones(first), torch.ones(second))[:rows, :columns]
    assert float(reached.min()) >= 1
    more = sizes(rows, columns, blocks + 2)
    assert float(matrix(*map(torch.ones, more))[:rows, :columns].min()) == 0


def test_a_square_has_two_n_root_n_parameters() -> None:
    """Section 3.1."""
    assert usual_blocks(1024, 1024) == 32
    shapes = sizes(1024, 1024, 32)
    assert sum(int(np.prod(shape)) for shape in shapes) == 2 * 1024 * 32


def test_layers_are_their_matrix() -> None:
    torch.manual_seed(0)
    dense = nn.Linear(10, 7).double()
    linear = MonarchLinear(dense, 3)
    x = torch.randn(4, 5, 10).double()
    product = matrix(*linear.factors)[:7, :10]
    assert (linear(x) - (x @ product.T + dense.bias)).abs().max() < 1e-12
    for options in ({"stride": 2, "padding": 1}, {"dilation": 2, "bias": False}):
        of = nn.Conv2d(3, 5, 3, **options).double()  # type: ignore[arg-type]
        conv = MonarchConv2d(of, 2)
        kernel = matrix(*conv.factors)[:5, :27].reshape(5, 3, 3, 3).permute(0, 3, 1, 2)
        with torch.no_grad():
            of.weight.copy_(kernel)
        image = torch.randn(2, 3, 9, 9).double()
        assert (conv(image) - of(image)).abs().max() < 1e-12


def test_factors_start_as_in_the_paper_s_code() -> None:
    """Each block by Kaiming's uniform with a = √5, that is U(±1/√columns)."""
    torch.manual_seed(0)
    layer = MonarchLinear(nn.Linear(400, 900), 20)
    for factor in (f.detach() for f in layer.factors):
        bound = 1 / sqrt(factor.shape[-1])
        assert 0.98 * bound < float(factor.abs().max()) <= bound
        assert float(factor.std()) == pytest.approx(bound / sqrt(3), rel=0.03)


@pytest.mark.parametrize(("rows", "columns", "blocks"), [(10, 37, 3), (7, 12, 4), (16, 16, 4)])
def test_weights_are_those_that_have_an_effect(rows: int, columns: int, blocks: int) -> None:
    """By the gradients of all entries of the matrix, where blocks do not divide its sides."""
    torch.manual_seed(0)
    layer = MonarchLinear(nn.Linear(columns, rows).double(), blocks)
    layer(torch.eye(columns).double()).square().sum().backward()
    for factor in layer.factors:
        assert factor.grad is not None
        assert torch.equal(factor != 0, factor.grad != 0)


def test_factors_cost_what_they_hold() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.Flatten())
    network.append(nn.Linear(8 * 16, 9, bias=False))
    Monarch(layers=("0", "2")).prepare(network).eval()
    held = [sum(int((p != 0).sum()) for p in network[n].parameters()) for n in (0, 2)]
    assert multiply_adds(network, torch.zeros(1, 4, 4, 4)) == 16 * held[0] + held[1]


def test_layers_are_chosen_as_for_the_butterfly() -> None:
    network = Monarch().prepare(MLP(hidden=(64, 32)).build((64,), 10))
    kinds = (MonarchLinear, MonarchConv2d)
    assert [n for n, m in network.named_modules() if isinstance(m, kinds)] == ["hidden1", "hidden2"]
    network = Monarch(segments=1).prepare(ResNet20().build((3, 32, 32), 10))
    names = [n for n, m in network.named_modules() if isinstance(m, kinds)]
    assert len(names) == 6
    # 64x288 by 8 blocks: 64·(288 + 64) / 8; 64x576: 64·(576 + 64) / 8
    assert sum(p.numel() for n in names[:1] for p in network.get_submodule(n).parameters()) == 2816
    assert sum(p.numel() for n in names[1:2] for p in network.get_submodule(n).parameters()) == 5120


@pytest.mark.parametrize("model", [MLP(hidden=(16,)), CNN(width=4)], ids=lambda m: m.name)
def test_models_train_in_every_way_alike(make_cohort: Make, model: privaudit.Model) -> None:
    options: dict[str, Any] = {"model": model, "sparsifier": Monarch(), "epochs": 2}
    options["momentum"] = 0.9
    together, alone = make_cohort([40, 33], **options), make_cohort([40, 33], stack=1, **options)
    together.fit()
    alone.fit()
    for name, weight in together.weights.items():
        assert (weight - alone.weights[name]).abs().max() < 1e-10, name
        assert not torch.equal(weight, together.initial_weights[name])


def test_stacked_gradients_equal_those_of_each_model_alone() -> None:
    torch.manual_seed(0)
    networks = [Monarch().prepare(CNN(width=4).build((1, 8, 8), 5)).double() for _ in range(3)]
    x = torch.randn(3, 5, 1, 8, 8, dtype=torch.float64)
    parameters, buffers = stack_module_state(networks)

    def loss(weights: dict[str, Tensor], state: dict[str, Tensor], x: Tensor) -> Tensor:
        answer: Tensor = functional_call(networks[0], (weights, state), (x,))
        return answer.logsumexp(1).sum()

    stacked = vmap(grad(loss))(parameters, buffers, x)
    for model, network in enumerate(networks):
        network(x[model]).logsumexp(1).sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            assert (stacked[name][model] - parameter.grad).abs().max() <= 1e-12


@pytest.mark.parametrize("options", [{"blocks": 1}, {"blocks": 0}, {"segments": 0}, {"layers": ()}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Monarch(**options)


@pytest.mark.parametrize(
    ("options", "hidden", "message"),
    [
        ({"blocks": 8}, (12, 7), "layer 'hidden2' has 12 inputs and 7 outputs, too few for 8"),
        ({"segments": 1}, (12,), "segments is 1, but this network has 0"),
        ({"layers": ("hiden*",)}, (12,), r"'hiden\*' matches no layer"),
        ({}, (), "no linear or convolution layer before its last"),
    ],
)
def test_mistakes_in_options_are_one_clear_line(
    options: dict[str, Any], hidden: tuple[int, ...], message: str
) -> None:
    with pytest.raises(privaudit.RecipeError, match=message) as caught:
        Monarch(**options).prepare(MLP(hidden=hidden).build((8,), 4))
    assert len(str(caught.value).splitlines()) == 1


def test_segments_and_layers_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="not both"):
        Monarch(segments=1, layers=("first",))


def test_what_saves_nothing_warns_and_what_saves_does_not() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            Monarch().prepare(MLP(hidden=(3,)).build((3,), 2))
    assert len(caught) == 1
    assert "'hidden1' saves nothing: its 3x3 matrix has 18" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Monarch().prepare(MLP(hidden=(64,)).build((64,), 2))
