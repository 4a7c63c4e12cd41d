from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from privaudit_plugins.sparsifiers._butterfly_chain import Factor, chain
from privaudit_plugins.sparsifiers._butterfly_layers import (
    ButterflyConv2d,
    ButterflyLinear,
    apply,
    matrix,
)


def _dense_factor(factor: Factor, entries: Tensor) -> Tensor:
    """The factor as a matrix, block by block from the definition I_a ⊗ 1_{b×c} ⊗ I_d."""
    a, b, c, d = factor
    full = entries.new_zeros(a * b * d, a * c * d)
    for copy in range(a):
        for shift in range(d):
            rows = copy * b * d + shift + d * torch.arange(b)
            columns = copy * c * d + shift + d * torch.arange(c)
            full[rows[:, None], columns] = entries[copy * d + shift]
    return full


def _dense_product(factors: list[Tensor], patterns: tuple[Factor, ...]) -> Tensor:
    full = [_dense_factor(p, f) for p, f in zip(patterns, factors, strict=True)]
    return torch.linalg.multi_dot(full) if len(full) > 1 else full[0]


def _random(patterns: tuple[Factor, ...]) -> list[Tensor]:
    return [
        torch.randn(a * d, b, c, dtype=torch.float64, requires_grad=True) for a, b, c, d in patterns
    ]


def test_all_ones_reach_every_entry_by_one_path() -> None:
    patterns = chain(4, 6, 2)
    ones = [torch.ones(a * d, b, c) for a, b, c, d in patterns]
    assert torch.equal(matrix(ones, patterns), torch.ones(4, 6))
    assert torch.equal(apply(ones, patterns, torch.eye(6)), torch.ones(4, 6))


def test_square_factors_have_two_entries_in_each_row_and_column() -> None:
    for factor in chain(8, 8, 3):
        full = _dense_factor(factor, torch.ones(factor.a * factor.d, factor.b, factor.c))
        assert full.sum(0).tolist() == full.sum(1).tolist() == [2.0] * 8


@pytest.mark.parametrize(
    ("rows", "columns", "count"), [(64, 576, 2), (64, 576, 3), (64, 32, 2), (8, 8, 3), (7, 12, 1)]
)
def test_products_and_gradients_equal_those_of_the_dense_factors(
    rows: int, columns: int, count: int
) -> None:
    torch.manual_seed(0)
    patterns = chain(rows, columns, count)
    factors = _random(patterns)
    x = torch.randn(columns, 5, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(rows, 5, dtype=torch.float64)
    expected = _dense_product(factors, patterns) @ x
    expected_gradients = torch.autograd.grad((expected * toward).sum(), [x, *factors])
    for y in (apply(factors, patterns, x), matrix(factors, patterns) @ x):
        gradients = torch.autograd.grad((y * toward).sum(), [x, *factors])
        for got, wanted in zip((y, *gradients), (expected, *expected_gradients), strict=True):
            assert (got - wanted).abs().max() <= 1e-12 * wanted.abs().max()


def test_linear_layer_applies_the_dense_product_to_the_last_axis() -> None:
    torch.manual_seed(0)
    patterns = chain(12, 30, 2)
    for bias in (True, False):
        dense = nn.Linear(30, 12, bias=bias, dtype=torch.float64)
        layer = ButterflyLinear(dense, patterns)
        x = torch.randn(2, 3, 30, dtype=torch.float64)
        expected = x @ _dense_product(list(layer.factors), patterns).t()
        if dense.bias is not None:
            expected = expected + dense.bias
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1, "bias": False},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": (3, 1), "padding": "same", "dilation": 2},
        {"kernel_size": 1},
    ],
)
def test_convolution_uses_the_dense_product_by_position_then_channel(
    options: dict[str, Any],
) -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(4, 8, **options, dtype=torch.float64)
    height, width = dense.kernel_size
    patterns = chain(8, 4 * height * width, 2)
    layer = ButterflyConv2d(dense, patterns)
    product = _dense_product(list(layer.factors), patterns)
    weight = torch.empty_like(dense.weight)
    for i in range(height):
        for j in range(width):
            for channel in range(4):
                weight[:, channel, i, j] = product[:, (i * width + j) * 4 + channel].detach()
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64)
    expected = conv2d(x, weight, dense.bias, dense.stride, dense.padding, dense.dilation)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_initial_weights_vary_as_pytorch_draws_dense_ones(count: int) -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(64, 64, 3, dtype=torch.float64)
    patterns = chain(64, 576, count)
    products = [matrix(list(ButterflyConv2d(dense, patterns).factors), patterns) for _ in range(20)]
    entries = torch.stack(products)
    assert entries.square().mean().item() == pytest.approx(1 / (3 * 576), rel=0.03)
    assert abs(entries.mean().item()) < 1e-3
