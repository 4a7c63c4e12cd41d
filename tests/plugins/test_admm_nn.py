"""ADMM-NN: pruned exactly, then few values without zero, as near as can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from privaudit import Model
from privaudit.cohort import Cohort
from privaudit_plugins.sparsifiers._grid import best_spacing, off_zero
from privaudit_plugins.sparsifiers.admm import ADMM
from privaudit_plugins.sparsifiers.admm_nn import ADMMNN

Make = Callable[..., Cohort]
MEMBERS = [20, 33]


def matrices(cohort: Cohort) -> dict[str, Tensor]:
    return {n: w for n, w in cohort.weights.items() if w.ndim > 2}


def levels(cohort: Cohort, plugin: ADMMNN) -> dict[str, dict[str, Tensor]]:
    return {label: matrices(cohort) for label in plugin.sparsify(cohort)}


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_what_is_left_has_few_values_and_what_is_pruned_stays_zero(
    make_cohort: Make, request: pytest.FixtureRequest, kind: str, bits: int
) -> None:
    model: Model = request.getfixturevalue(kind)()
    plugin = ADMMNN(density=0.3, bits=bits, every=1)
    found = levels(make_cohort(MEMBERS, model=model, sparsifier=plugin, epochs=2), plugin)
    assert list(found) == ["pruned", f"pruned, {bits} bits"]
    pruned, few = found.values()
    for name, before in pruned.items():
        for m in range(2):
            after = few[name][m]
            assert torch.equal(after != 0, before[m] != 0)
            assert int((after != 0).sum()) == round(0.3 * after.numel())
            magnitudes = after[after != 0].abs()
            steps = magnitudes / magnitudes.min()
            on_one_grid = [q for q in range(1, 2**bits) if ((steps * q) % 1).lt(1e-9).all()]
            assert on_one_grid or ((steps * 2) % 1).abs().min() < 1e-9
            assert len(set(after[after != 0].tolist())) <= 2**bits


def test_the_pruned_level_is_that_of_admm(make_cohort: Make) -> None:
    plugin = ADMMNN(density=0.3, every=1)
    pruned = levels(make_cohort(MEMBERS, sparsifier=plugin, epochs=2), plugin)["pruned"]
    alone = ADMM(density=0.3, every=1)
    cohort = make_cohort(MEMBERS, sparsifier=alone, epochs=2)
    list(alone.sparsify(cohort))
    for name, weight in matrices(cohort).items():
        assert torch.equal(weight, pruned[name])


def test_values_are_the_nearest_of_all() -> None:
    weights = torch.tensor([-9.0, -1.1, -0.2, 0.0, 0.3, 0.74, 0.76, 2.0], dtype=torch.float64)
    grid = 0.5 * np.array([-2, -1, 1, 2])
    expected = [grid[np.abs(grid - w).argmin()] for w in weights.tolist() if w != 0]
    found = off_zero(weights, torch.tensor(0.5, dtype=torch.float64), 2)
    assert [w for w, was in zip(found.tolist(), weights.tolist(), strict=True) if was] == expected
    assert abs(float(found[3])) == 0.5  # zero is no value


@pytest.mark.parametrize("bits", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_spacing_errs_as_little_as_the_best_of_many(bits: int, seed: int) -> None:
    """Every one of 20,000 spacings tried in NumPy."""
    drawn = torch.randn(400, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = drawn[drawn.abs() > 0.8].numpy()
    least = np.inf
    for q in np.linspace(1e-3, np.abs(values).max(), 20_000):
        steps = np.clip(np.round(np.abs(values) / q), 1, 2 ** (bits - 1))
        least = min(least, float(((np.abs(values) - steps * q) ** 2).sum()))
    given = torch.from_numpy(values)
    q = best_spacing(given, bits)
    error = float((given - off_zero(given, q, bits)).square().sum())
    assert error <= 1.02 * least


def test_nothing_left_of_a_layer_is_no_division_by_zero() -> None:
    for values in (torch.zeros(3), torch.zeros(0)):
        assert float(best_spacing(values, 3)) == 1


def test_weights_are_drawn_before_they_are_rounded(make_cohort: Make) -> None:
    found = []
    rho = {"rho": 0.02, "rho_growth": 1.5, "every": 2}
    for epochs in (2, 32):
        phases = {"quantise_epochs": epochs, "admm_epochs": 2, "epochs": 1}
        plugin = ADMMNN.model_validate({"density": 0.3, "bits": 2} | rho | phases)
        cohort = make_cohort([100, 100], sparsifier=plugin, epochs=6, schedule="cosine")
        list(plugin.sparsify(cohort))
        found.append(cohort.take_notes()["primal residual"])
    assert bool((found[1] < 0.1 * found[0]).all())


@pytest.mark.parametrize(
    "options",
    [{"bits": 1}, {"bits": 9}, {"bits": 2.5}, {"bits": [2, 3]}, {"quantise_epochs": 0}],
    ids=str,
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ADMMNN.model_validate(options)
