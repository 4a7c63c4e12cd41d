"""MIA-Pruning: exactly k weights, projected while training and fixed while fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import vmap

from privaudit import (
    Defense,
    Model,
    PrivauditError,
    Weights,
)
from privaudit.cohort import Cohort
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.sparsifiers._nearest import largest
from privaudit_plugins.sparsifiers.mia_pruning import MIAPruning

Make = Callable[..., Cohort]


def pruning(**options: Any) -> MIAPruning:
    return MIAPruning.model_validate(options)


def matrices(cohort: Cohort) -> dict[str, Tensor]:
    return {n: w for n, w in cohort.weights.items() if w.ndim > 2}


def test_the_nearest_sparse_vector_keeps_the_largest_numbers_and_the_first_of_equals() -> None:
    values = torch.tensor([0.5, -2.0, 1.0, 0.0, -1.0, 1.0, 0.25])
    cases = {
        0.05: [0, 0, 0, 0, 0, 0, 0],
        0.15: [0, -2, 0, 0, 0, 0, 0],
        0.43: [0, -2, 1, 0, -1, 0, 0],
        0.55: [0, -2, 1, 0, -1, 1, 0],
        0.99: [0.5, -2, 1, 0, -1, 1, 0.25],
    }
    for share, expected in cases.items():
        assert largest(values, share).tolist() == expected
    both = torch.stack([values, values.flip(0)])
    together = vmap(lambda v: largest(v, 0.43))(both)
    assert together.tolist() == [[0, -2, 1, 0, -1, 0, 0], [0, 1, -1, 0, 0, -2, 0]]


@pytest.mark.parametrize(("scope", "zeros"), [("global", [4, 0]), ("layer", [2, 2])])
def test_projection_waits_for_its_epoch_and_compares_as_its_scope_says(
    scope: str, zeros: list[int]
) -> None:
    small, large = torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [-7.0, 8.0]])
    named = {"a.weight": small, "a.bias": torch.ones(2), "b.weight": large}
    weights = Weights(named, nn.Identity())
    plugin = pruning(density=0.5, scope=scope, project_from=3)
    before = plugin.project(weights, torch.tensor(2))
    assert all(torch.equal(value, named[name]) for name, value in before.items())
    after = plugin.project(weights, torch.tensor(3))
    assert sorted(after) == ["a.weight", "b.weight"]
    assert [int((after[n] == 0).sum()) for n in ("a.weight", "b.weight")] == zeros
    kept = torch.cat([w[w != 0] for w in after.values()]).abs()
    assert kept.tolist() == ([5, 6, 7, 8] if scope == "global" else [3, 4, 7, 8])


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_density_is_exact_and_the_support_outlasts_fine_tuning(
    make_cohort: Make, request: pytest.FixtureRequest, kind: str, scope: str
) -> None:
    plugin = pruning(density=0.237, scope=scope, epochs=2, lr=0.05)
    model: Model = request.getfixturevalue(kind)()
    cohort = make_cohort([40, 30], model=model, sparsifier=plugin)
    assert list(plugin.sparsify(cohort)) == [""]
    sizes = {n: w[0].numel() for n, w in matrices(cohort).items()}
    for m in range(2):
        left = {n: int((w[m] != 0).sum()) for n, w in matrices(cohort).items()}
        if scope == "layer":
            assert left == {n: round(0.237 * size) for n, size in sizes.items()}
        assert abs(sum(left.values()) - 0.237 * sum(sizes.values())) <= 0.5 * len(
            sizes if scope == "layer" else [1]
        )
        for name, mask in cohort.masks.items():
            assert not bool(cohort.weights[name][m][~mask[m]].any())
            assert name in sizes or bool(mask[m].all())


def test_training_ends_on_k_weights_that_need_not_be_those_it_began_with(
    make_cohort: Make,
) -> None:
    plugin = pruning(density=0.2, project_from=0)
    cohort = make_cohort([40, 30], sparsifier=plugin, epochs=4)
    first = {n: cohort.initial_weights[n] for n in matrices(cohort)}
    cohort.fit()
    trained = matrices(cohort)
    stays = round(0.2 * sum(w[0].numel() for w in trained.values()))
    for m in range(2):
        assert sum(int((w[m] != 0).sum()) for w in trained.values()) == stays
        magnitudes = torch.cat([w[m].abs().flatten() for w in first.values()])
        now = torch.cat([w[m].flatten() for w in trained.values()]) != 0
        threshold = magnitudes.sort(descending=True).values[stays - 1]
        assert not torch.equal(now, magnitudes >= threshold)
    cohort.prune(keep=0.2)
    assert all(torch.equal(w, trained[n]) for n, w in matrices(cohort).items())


def test_with_min_max_the_penalty_is_in_the_loss_and_the_density_is_the_same(
    make_cohort: Make,
) -> None:
    def run(defense: Defense) -> dict[str, Tensor]:
        plugin = pruning(density=0.3, epochs=1)
        cohort = make_cohort([40, 30], sparsifier=plugin, defense=defense)
        list(plugin.sparsify(cohort))
        return matrices(cohort)

    plain, against = run(Defense(name="none")), run(MinMax(weight=5.0, width=0.05))
    stays = round(0.3 * sum(w[0].numel() for w in plain.values()))
    for m in range(2):
        assert sum(int((w[m] != 0).sum()) for w in against.values()) == stays
        assert max(float((against[n] - w)[m].abs().max()) for n, w in plain.items()) > 1e-6


def test_three_models_at_once_are_three_models_alone(make_cohort: Make) -> None:
    plugin = pruning(density=0.3, epochs=1)

    def run(models: list[int]) -> Cohort:
        cohort = make_cohort([40, 33, 20], models=models, sparsifier=plugin)
        list(plugin.sparsify(cohort))
        return cohort

    together = run([0, 1, 2])
    for m in range(3):
        alone = run([m])
        for name, weight in together.weights.items():
            torch.testing.assert_close(weight[m], alone.weights[name][0], rtol=0, atol=1e-10)
            assert torch.equal(together.masks[name][m], alone.masks[name][0])


def test_a_quarter_of_the_weights_still_classifies(make_cohort: Make) -> None:
    plugin = pruning(density=0.25, project_from=2)
    cohort = make_cohort([100], sparsifier=plugin, epochs=8)
    list(plugin.sparsify(cohort))
    right = cohort.logits()[0].argmax(-1) == cohort.data.y
    assert float(right.double().mean()) > 0.6


@pytest.mark.parametrize(
    ("options", "training"), [({"project_from": 2}, {}), ({}, {"epochs": 5, "stop_after": 1})]
)
def test_a_projection_that_never_comes_is_refused(
    make_cohort: Make, options: dict[str, Any], training: dict[str, Any]
) -> None:
    plugin = pruning(**options)
    cohort = make_cohort(sparsifier=plugin, **training)
    with pytest.raises(PrivauditError, match=r"project_from is \d, but training has only \d epoch"):
        list(plugin.sparsify(cohort))


@pytest.mark.parametrize("options", [{"density": 0}, {"density": 1}, {"project_from": -1}])
def test_options_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        pruning(**options)
