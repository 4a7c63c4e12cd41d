"""Static masks: what a recipe gives is where training starts, and what is 0 stays so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import Examples, RecipeError
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.static_mask import StaticMask

Make = Callable[..., Cohort]
GIVEN: dict[str, Any] = {
    "hidden1.weight": [[0.5, 0.0, -0.25], [0.0, 1.0, 0.0]],
    "hidden1.bias": [0.125, 0.0],
    "output.weight": [[0.0, 1.0], [0.0, 0.0], [-1.0, 0.5]],
}
MODEL = MLP(hidden=(4,))


def made(make_cohort: Make, epochs: int = 1, **options: Any) -> Cohort:
    sparsifier = StaticMask.model_validate({"weights": GIVEN} | options)
    cohort = make_cohort(
        [24, 24], model=MODEL, sparsifier=sparsifier, epochs=epochs, batch_size=24, lr=0.5,
        momentum=0.0, validation=0,
    )  # fmt: skip
    assert list(sparsifier.sparsify(cohort)) == [""]
    return cohort


def test_training_starts_from_what_is_given_and_keeps_its_zeros(
    make_cohort: Make, digits: Examples
) -> None:
    """One step by hand: the gradient of the given network, where the mask lets it pass."""
    cohort = made(make_cohort)
    start = {
        "hidden1.weight": torch.zeros(4, 64),
        "hidden1.bias": torch.zeros(4),
        "output.weight": torch.zeros(10, 4),
    }
    start["hidden1.weight"][0, 0], start["hidden1.weight"][0, 2] = 0.5, -0.25
    start["hidden1.weight"][1, 1] = 1.0
    start["hidden1.bias"][0] = 0.125
    start["output.weight"][0, 1], start["output.weight"][2, 0] = 1.0, -1.0
    start["output.weight"][2, 1] = 0.5
    for m in range(2):
        leaves = {name: value.double().requires_grad_() for name, value in start.items()}
        leaves["output.bias"] = cohort.initial_weights["output.bias"][m].clone().requires_grad_()
        members = cohort.rows("member")[m]
        x = (digits.x[members].double() - 8) / 8
        hidden = (x.flatten(1) @ leaves["hidden1.weight"].T + leaves["hidden1.bias"]).relu()
        logits = hidden @ leaves["output.weight"].T + leaves["output.bias"]
        cross_entropy(logits, digits.y[members]).backward()  # type: ignore[no-untyped-call]
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            expected: Tensor = leaf.detach() - 0.5 * leaf.grad
            if name in start:
                expected = expected * (start[name] != 0)
            torch.testing.assert_close(cohort.weights[name][m], expected, rtol=0, atol=1e-10)


def test_a_random_start_keeps_the_mask_and_each_networks_own_weights(make_cohort: Make) -> None:
    cohort = made(make_cohort, start="random", epochs=3)
    for name, given in GIVEN.items():
        values = torch.tensor(given)
        corner = (slice(None), *(slice(size) for size in values.shape))
        stays = torch.zeros_like(cohort.masks[name])
        stays[corner] = values != 0
        assert torch.equal(cohort.masks[name], stays)
        assert torch.equal(cohort.weights[name] != 0, stays)
    first, second = cohort.weights["hidden1.weight"][:, 0, 0].tolist()
    assert first != second
    assert abs(first - 0.5) > 1e-3
    assert bool(cohort.masks["output.bias"].all())  # not named


def refused(weights: dict[str, Any], module: nn.Module) -> str:
    with pytest.raises(RecipeError) as caught:
        StaticMask(weights=weights).prepare(module)
    return str(caught.value)


def test_what_a_network_has_no_room_for_is_refused_all_at_once() -> None:
    told = refused(
        {
            "hidden2.weight": ((1.0,),),
            "hidden1.weight": ((1.0,) * 6,),
            "hidden1.bias": ((1.0,),),
            "output.weight": (1.0, 2.0),
            "output.bias": (1.0, 2.0),
        },
        MLP(hidden=(4,)).build((5,), 2),
    ).splitlines()
    assert len(told) == 4
    assert "no 'hidden2.weight': it has hidden1.weight, hidden1.bias, output.weight" in told[0]
    assert "hidden1.weight has shape (4, 5), too small for the (1, 6) given" in told[1]
    assert "hidden1.bias has shape (4,): give it a list of numbers" in told[2]
    assert "output.weight has shape (2, 4): give it rows of numbers" in told[3]


def test_kernels_cannot_be_given() -> None:
    told = refused({"conv1.weight": ((1.0,),)}, CNN(width=2).build((1, 8, 8), 2))
    assert "conv1.weight has shape (2, 1, 3, 3): only matrices and biases can be given" in told


@pytest.mark.parametrize(
    "weights",
    [
        {}, {"a": [[1, 0], [1]]}, {"a": [[0, 0]]}, {"a": []}, {"a": [[]]}, {"a": [1, [1]]},
        {"a": "x"}, {"a": [["x"]]}, {"a": [[float("inf")]]}, {"a": [[[1]]]}, [[1]],
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(weights: Any) -> None:
    with pytest.raises(ValidationError):
        StaticMask(weights=weights)
