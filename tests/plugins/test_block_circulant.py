"""Block-circulant layers: explicit circulant matrices, exact counts, dense beginnings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from scipy.linalg import circulant
from torch import Tensor, nn
from torch.nn.functional import conv2d

from privaudit import (
    Model,
    PrivauditError,
)
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet18 import ResNet18
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vit_tiny import ViTTiny
from privaudit_plugins.sparsifiers._circulant_layers import (
    CirculantConv2d,
    CirculantLinear,
    first_columns,
    matrix,
)
from privaudit_plugins.sparsifiers.block_circulant import BlockCirculant

Make = Callable[..., Cohort]


def circulants(**options: Any) -> BlockCirculant:
    return BlockCirculant.model_validate(options)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def explicit(vectors: Tensor, rows: int, columns: int) -> Tensor:
    """The matrix (rows, columns) by scipy, block by block."""
    down, across, size = vectors.shape
    blocks = [
        [torch.from_numpy(circulant(vectors[p, q].detach().numpy())) for q in range(across)]
        for p in range(down)
    ]
    whole = torch.cat([torch.cat(row, 1) for row in blocks])
    assert whole.shape == (down * size, across * size)
    return whole[:rows, :columns]


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(6, 9, 3), (8, 4, 4), (8, 5, 4), (7, 6, 3), (4, 1, 4), (2, 8, 4)]
)
def test_linear_layer_multiplies_by_circulant_blocks(rows: int, columns: int, size: int) -> None:
    torch.manual_seed(0)
    dense = nn.Linear(columns, rows).double()
    layer = CirculantLinear(dense, size)
    assert layer.vectors.shape == (-(-rows // size), -(-columns // size), size)
    x = torch.randn(5, 2, columns, dtype=torch.float64)
    expected = x @ explicit(layer.vectors, rows, columns).T + dense.bias
    torch.testing.assert_close(layer(x), expected)
    loss = layer(x).square().sum()
    (gradient,) = torch.autograd.grad(loss, [layer.vectors])
    assert bool((gradient != 0).all())  # no parameter is without effect


@pytest.mark.parametrize(("rows", "columns", "size"), [(6, 4, 2), (4, 3, 4), (5, 6, 3)])
def test_convolution_has_circulant_blocks_at_each_position(
    rows: int, columns: int, size: int
) -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(columns, rows, (3, 2), stride=2, padding=1, dilation=(1, 2)).double()
    layer = CirculantConv2d(dense, size)
    kernel = torch.zeros(rows, columns, 3, 2, dtype=torch.float64)
    for i in range(3):
        for j in range(2):
            kernel[:, :, i, j] = explicit(layer.vectors[..., i, j], rows, columns)
    x = torch.randn(2, columns, 7, 8, dtype=torch.float64)
    expected = conv2d(x, kernel, dense.bias, stride=2, padding=1, dilation=(1, 2))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (6, 4), (5, 6)])
def test_vectors_of_a_circulant_matrix_are_found_again(rows: int, columns: int) -> None:
    vectors = torch.randn(2, 2, 3, 2, 2)
    found = first_columns(matrix(vectors, rows, columns), 3)
    assert torch.equal(found, vectors)


def test_a_layer_starts_with_the_scale_of_the_dense_one() -> None:
    torch.manual_seed(0)
    dense = nn.Linear(512, 510)
    nn.init.normal_(dense.weight, std=0.02)
    layer = CirculantLinear(dense, 8)
    x = torch.randn(400, 512)
    assert float(layer.vectors.detach().std()) == pytest.approx(0.02, rel=0.03)
    ratio = (layer(x) - dense.bias).std() / (dense(x) - dense.bias).std()
    assert ratio.item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("model", "shape", "block", "saved"),
    [
        (MLP(hidden=(128, 64)), (1, 8, 8), 8, 64 * 128 + 128 * 64),
        (CNN(width=16), (4, 8, 8), 4, 9 * (4 * 16 + 16 * 32)),
        (ResNet20(), (3, 32, 32), 16, 267_696 - 9 * 3 * 16),  # the stem is no segment's
        (ViTTiny(depth=1), (3, 32, 32), 4, 12 * 192 * 192),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_substituted_weights_are_divided_by_the_block(
    model: Model, shape: tuple[int, ...], block: int, saved: int
) -> None:
    network = model.build(shape, 10)
    before = parameters(network)
    after = parameters(circulants(block=block).prepare(network))
    assert after == before - saved + saved // block


def test_resnet18_keeps_its_stem_its_shortcuts_and_its_output() -> None:
    with torch.device("meta"):
        network = circulants(block=8).prepare(ResNet18().build((3, 32, 32), 10))
    dense = [n for n, m in network.named_modules() if type(m) in (nn.Conv2d, nn.Linear)]
    assert dense == ["stem", *(f"segment{s}.0.shortcut.0" for s in (2, 3, 4)), "output"]


def test_patterns_choose_layers() -> None:
    network = circulants(layers=["hidden2"]).prepare(MLP(hidden=(8, 8)).build((30,), 2))
    kinds = {n: type(m) for n, m in network.named_modules() if n in ("hidden1", "hidden2")}
    assert kinds == {"hidden1": nn.Linear, "hidden2": CirculantLinear}


def test_density_counts_the_vectors(make_cohort: Make) -> None:
    cohort = make_cohort(model=MLP(hidden=(32,)), sparsifier=circulants(block=8))
    dense = 64 * 32 + 32 + 32 * 10 + 10
    expected = (64 * 32 // 8 + 32 + 32 * 10 + 10) / dense
    assert cohort.density().tolist() == pytest.approx([expected] * 2, rel=1e-12)


def test_three_models_at_once_are_three_models_alone(make_cohort: Make) -> None:
    plugin = circulants(block=2)

    def run(models: list[int]) -> Cohort:
        cohort = make_cohort(
            [40, 33, 20], models=models, model=CNN(width=4, norm="batch"), sparsifier=plugin
        )
        list(plugin.sparsify(cohort))
        return cohort

    together = run([0, 1, 2])
    assert not torch.equal(*together.initial_weights["conv2.vectors"][:2])
    for m in range(3):
        alone = run([m])
        for name, weight in together.weights.items():
            torch.testing.assert_close(weight[m], alone.weights[name][0], rtol=0, atol=1e-10)


def test_it_learns_the_digits(make_cohort: Make) -> None:
    plugin = circulants(block=4)
    cohort = make_cohort([100], model=MLP(hidden=(64,)), sparsifier=plugin, epochs=8)
    list(plugin.sparsify(cohort))
    right = cohort.logits()[0].argmax(-1) == cohort.data.y
    assert float(right.double().mean()) > 0.75


@pytest.mark.parametrize(
    ("options", "network", "message"),
    [
        (
            {"block": 4},
            nn.Sequential(nn.Linear(30, 18), nn.Linear(18, 2)),
            r"layer '0' has 30 inputs and 18 outputs, and a block of 4 divides neither",
        ),
        ({"layers": ["x*"]}, nn.Sequential(nn.Linear(4, 4)), r"layers: 'x\*' matches no layer"),
        ({}, nn.Sequential(nn.Linear(4, 4)), "no linear or convolution layer before its last"),
        (
            {},
            nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.Linear(4, 4)),
            r"layer '0' has groups=2 .* block_circulant form",
        ),
        (
            {},
            nn.Sequential(nn.Conv2d(8, 8, 3, padding_mode="reflect"), nn.Linear(4, 4)),
            "padding_mode='reflect'",
        ),
    ],
)
def test_what_has_no_such_form_is_refused(
    options: dict[str, Any], network: nn.Module, message: str
) -> None:
    with pytest.raises(PrivauditError, match=message):
        circulants(**options).prepare(network)


def test_blocks_of_one_are_refused() -> None:
    with pytest.raises(ValidationError):
        circulants(block=1)
