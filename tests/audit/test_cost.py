from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

import privaudit
from privaudit import (
    Model,
)
from privaudit.cohort import Cohort
from privaudit.experiment.cost import filled, seconds_per_example
from privaudit.networks.multiply_adds import multiply_adds
from privaudit.recipe import load_recipe
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vit_tiny import ViTTiny
from privaudit_plugins.sparsifiers.block_circulant import BlockCirculant
from privaudit_plugins.sparsifiers.butterfly import Butterfly


def test_every_weight_counts_once_for_every_place() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 16x16 pixels become 8x8
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),
        nn.Flatten(),
        nn.Linear(8 * 64, 10),
    ).eval()
    expected = 64 * 8 * 3 * 9 + 64 * 8 * 2 * 9 + 8 * 64 * 10
    assert multiply_adds(network, torch.zeros(1, 3, 16, 16)) == expected


def test_a_pruned_weight_costs_nothing() -> None:
    convolution, linear = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 25, 2)
    with torch.no_grad():
        convolution.weight[0, 0, 0] = 0
        convolution.weight[1, 0, 0] = 0
        linear.weight[0, :30] = 0
    network = nn.Sequential(convolution, nn.Flatten(), linear)
    assert (
        multiply_adds(network.eval(), torch.zeros(1, 1, 5, 5)) == 25 * (4 * 9 - 6) + 4 * 25 * 2 - 30
    )


def test_a_resnet20_costs_what_its_table_of_layers_says() -> None:
    """He et al. 2016, section 4.2: 16, 32, 64 filters on maps of 32, 16, 8 pixels a side."""
    network = ResNet20().build((3, 32, 32), 10).eval()
    counted = multiply_adds(network, torch.zeros(1, 3, 32, 32))
    stem, output = 3 * 9 * 16 * 32**2, 64 * 10
    first = 6 * 16 * 9 * 16 * 32**2
    second = (16 + 5 * 32) * 9 * 32 * 16**2
    third = (32 + 5 * 64) * 9 * 64 * 8**2
    projections = 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert counted == stem + first + second + third + projections + output


def test_attention_multiplies_tokens_with_each_other() -> None:
    width, depth, heads, tokens = 24, 2, 3, 1 + (8 // 4) ** 2
    network = ViTTiny(patch=4, width=width, depth=depth, heads=heads).build((3, 8, 8), 5).eval()
    matrices = tokens * (3 + 1 + 4 + 4) * width**2
    attention = 2 * tokens**2 * width
    expected = (tokens - 1) * 48 * width + depth * (matrices + attention) + width * 5
    assert multiply_adds(network, torch.zeros(1, 3, 8, 8)) == expected


def test_factors_of_a_matrix_cost_what_they_hold() -> None:
    convolution, linear = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.Linear(8 * 16, 8)
    network = nn.Sequential(convolution, nn.Flatten(), linear)
    Butterfly(layers=("0", "2")).prepare(network).eval()
    held = [sum(p.numel() for p in network[n].parameters() if p.ndim > 1) for n in (0, 2)]
    assert held[0] < 2 * 8 * 9
    assert multiply_adds(network, torch.zeros(1, 2, 4, 4)) == 16 * held[0] + held[1]


def test_a_circulant_block_costs_what_its_matrix_costs() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, bias=False))
    BlockCirculant(block=4, layers=("0",)).prepare(network).eval()
    assert sum(p.numel() for p in network.parameters()) == 8 * 9
    assert multiply_adds(network, torch.zeros(1, 4, 5, 5)) == 25 * 8 * 4 * 9


def test_what_is_looked_up_or_added_costs_nothing() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.shift

    network = nn.Sequential(Shifted(), nn.Flatten(), nn.Linear(16, 3))
    assert multiply_adds(network.eval(), torch.zeros(1, 4, 4)) == 48


def test_time_is_a_share_of_the_batch_and_the_batch_shrinks_with_the_work() -> None:
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def forward(self, x: Tensor) -> Tensor:
            self.sizes.append(len(x))
            torch.ones(200, 200) @ torch.ones(200, 200)
            return x

    slow, x = Slow(), torch.zeros(300, 2)
    small = seconds_per_example(slow, x, 10)
    large = seconds_per_example(slow, x, 2**28)
    assert slow.sizes == [256] * 6 + [4] * 6
    assert 0 < small < large


def test_a_filled_network_answers_as_its_cohort(
    make_cohort: Callable[..., Cohort], convolutional: Callable[..., Model]
) -> None:
    cohort = make_cohort([30, 40], model=convolutional(dropout=0.5), epochs=1)
    cohort.fit()
    state = cohort.weights | cohort.buffers
    x = cohort.data.plain(torch.arange(7))
    for m, wanted in enumerate(cohort.logits()[:, :7]):
        network = filled(cohort.network.module, {n: w[m] for n, w in state.items()})
        assert torch.allclose(network(x), wanted, atol=1e-12)


def test_weights_of_another_network_are_refused() -> None:
    network = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"missing: \['bias'\].*\['biass'\]"):
        filled(network, {"weight": torch.zeros(2, 3), "biass": torch.zeros(2)})


RECIPE: dict[str, Any] = {
    "name": "costs",
    "dataset": "digits",
    "split": {"protocol": "halves", "members": 60, "targets": "all"},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"epochs": 1},
    "shadows": 4,
    "sparsifiers": ["dense", {"name": "imp", "rounds": 1, "amount": 0.5}],
    "attacks": ["loss"],
}


def test_every_audit_holds_its_targets_cost(tmp_path: Path) -> None:
    result = privaudit.run(load_recipe(RECIPE), tmp_path / "run", cache=tmp_path / "c")
    weights = 64 * 16 + 16 * 10
    costs = {(a.subject, a.level, a.target): a.multiply_adds for a in result.audits}
    assert {each for (subject, *_), each in costs.items() if subject == "dense"} == {weights}
    assert {each for (_, level, _), each in costs.items() if level == "round 1"} == {weights // 2}
    assert all(a.seconds and 0 < a.seconds < 1 for a in result.audits)
    assert len({(a.subject, a.level, a.seconds) for a in result.audits}) == 3


def test_a_network_trained_elsewhere_costs_what_its_weights_cost(tmp_path: Path) -> None:
    weights = {"hidden1.weight": torch.ones(16, 64), "output.weight": torch.ones(10, 16)}
    weights["hidden1.weight"][:, :4] = 0
    weights |= {"hidden1.bias": torch.randn(16), "output.bias": torch.randn(10)}
    save_file(weights, tmp_path / "own.safetensors")
    x, y = load_digits(return_X_y=True)
    parts = {"members": slice(800), "non_members": slice(800, 1600), "own": slice(1600, None)}
    tables = {}
    for name, rows in parts.items():
        np.savez(tmp_path / f"{name}.npz", x=x[rows], y=y[rows])
        tables[name] = {"name": "table", "path": str(tmp_path / f"{name}.npz")}
    given = {
        "checkpoint": str(tmp_path / "own.safetensors"), "members": tables["members"],
        "non_members": tables["non_members"], "normalise": "dataset", "accuracy": 0.1,
    }  # fmt: skip
    recipe = RECIPE | {
        "dataset": tables["own"], "target": given, "sparsifiers": ["dense"], "split": {},
        "shadows": 0,
    }  # fmt: skip
    result = privaudit.run(load_recipe(recipe), tmp_path / "run", cache=tmp_path / "c")
    (audit,) = result.audits
    assert audit.multiply_adds == 16 * 60 + 160
    assert audit.seconds


def test_counting_starts_no_compiler() -> None:
    script = (
        "import sys, torch\n"
        "from privaudit.networks.multiply_adds import multiply_adds\n"
        "assert multiply_adds(torch.nn.Linear(3, 2).eval(), torch.ones(1, 3)) == 6\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
