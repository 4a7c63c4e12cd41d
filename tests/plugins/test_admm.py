"""ADMM: the steps of a plain loop, exact sparsity, and a residual that falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import Examples, Model, RecipeError, Sparsifier
from privaudit.cohort import Cohort
from privaudit.keys import derive
from privaudit.train.dataset import epoch_order
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.admm import ADMM
from privaudit_plugins.sparsifiers.admm_nn import ADMMNN
from privaudit_plugins.sparsifiers.l1_unstructured import L1Unstructured

Make = Callable[..., Cohort]
MEMBERS = [20, 33]


def admm(**options: Any) -> ADMM:
    return ADMM.model_validate(options)


def matrices(cohort: Cohort) -> dict[str, Tensor]:
    return {n: w for n, w in cohort.weights.items() if w.ndim > 2}


def nearest(values: dict[str, Tensor], density: float, scope: str) -> dict[str, Tensor]:
    """By sorting in NumPy."""
    groups = [list(values)] if scope == "global" else [[name] for name in values]
    found = {}
    for group in groups:
        flat = np.concatenate([values[n].numpy().ravel() for n in group])
        smallest = np.argsort(-np.abs(flat), kind="stable")[round(density * flat.size) :]
        flat = flat.copy()
        flat[smallest] = 0
        for n in group:
            found[n] = torch.from_numpy(flat[: values[n].numel()].reshape(values[n].shape).copy())
            flat = flat[values[n].numel() :]
    return found


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_weights_and_multipliers_are_those_of_a_plain_loop(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model], scope: str
) -> None:
    """Written after Boyd et al. 2011, 3.5 to 3.7 and 3.4.1, with torch's optimiser; ρ is capped."""
    plugin = admm(density=0.237, scope=scope, rho=0.03, rho_growth=2.5, rho_most=0.1, every=2)
    cohort = make_cohort(MEMBERS, sparsifier=plugin, epochs=7)
    cohort.fit(sparsifier=Sparsifier(name="none"))
    start = cohort.weights
    cohort.fit()
    x = (digits.x.double() - 8) / 8
    for m in range(2):
        module: nn.Module = perceptron().build(digits.shape, 10).double()
        named = dict(module.named_parameters())
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(start[name][m])
        drawn = {n: w for n, w in named.items() if w.ndim > 1}
        z = nearest({n: w.detach().clone() for n, w in drawn.items()}, 0.237, scope)
        u = {n: torch.zeros_like(w) for n, w in z.items()}
        rho = 0.03
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        seed = derive(derive(cohort.seeds[m], "fit", 1), "member")
        for epoch in range(7):
            for rows in epoch_order(cohort._rows[m].member, seed, epoch, 16):
                loss = cross_entropy(module(x[rows]), digits.y[rows])
                for n, w in drawn.items():
                    loss = loss + rho / 2 * torch.linalg.vector_norm(w - z[n] + u[n]) ** 2
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            if epoch in (1, 3, 5):
                before, rho = rho, min(2.5 * rho, 0.1)
                now = {n: w.detach().clone() for n, w in drawn.items()}
                z = nearest({n: w + u[n] for n, w in now.items()}, 0.237, scope)
                u = {n: (u[n] + w - z[n]) * before / rho for n, w in now.items()}
        memory = cohort.memory
        assert float(memory["rho"][m]) == pytest.approx(rho)
        for n, w in drawn.items():
            assert (cohort.weights[n][m] - w.detach()).abs().max() < 1e-10
            assert (memory[f"Z of {n}"][m] - z[n]).abs().max() < 1e-10
            assert (memory[f"U of {n}"][m] - u[n]).abs().max() < 1e-10


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_density_is_exact(
    make_cohort: Make, request: pytest.FixtureRequest, kind: str, scope: str
) -> None:
    model: Model = request.getfixturevalue(kind)()
    plugin = admm(density=0.237, scope=scope, every=1)
    cohort = make_cohort(MEMBERS, model=model, sparsifier=plugin, epochs=2)
    assert list(plugin.sparsify(cohort)) == [""]
    sizes = {n: w[0].numel() for n, w in matrices(cohort).items()}
    for m in range(2):
        left = {n: int((w[m] != 0).sum()) for n, w in matrices(cohort).items()}
        if scope == "global":
            assert sum(left.values()) == round(0.237 * sum(sizes.values()))
        else:
            assert left == {n: round(0.237 * size) for n, size in sizes.items()}


def test_the_primal_residual_falls(make_cohort: Make) -> None:
    found = []
    for epochs in (8, 16, 32):
        plugin = admm(density=0.2, every=2, admm_epochs=epochs, rho=0.02, rho_growth=1.5, epochs=1)
        cohort = make_cohort([100, 100], sparsifier=plugin, epochs=6, schedule="cosine")
        list(plugin.sparsify(cohort))
        found.append(cohort.take_notes()["primal residual"])
    falling = torch.stack(found)
    assert bool((falling[1:] < falling[:-1]).all())
    assert bool((falling[-1] < 0.05 * falling[0]).all())


@pytest.fixture(scope="session")
def all_digits() -> Examples:
    data = load_digits()
    return Examples(
        x=torch.from_numpy(data.images).to(torch.uint8).unsqueeze(1),
        y=torch.from_numpy(data.target).to(torch.int64),
        classes=tuple(str(digit) for digit in range(10)),
        mean=torch.tensor(8.0),
        std=torch.tensor(8.0),
    )


def accuracy(make: Make, examples: Examples, plugin: Sparsifier) -> float:
    cohort = make(
        [700, 700], examples=examples, model=MLP(hidden=(32,)), sparsifier=plugin, epochs=12,
        batch_size=64, schedule="cosine", precision="fp32",
    )  # fmt: skip
    list(plugin.sparsify(cohort))
    right = cohort.logits().argmax(-1) == examples.y
    seen = [(cohort.rows("member")[m], cohort.rows("validation")[m]) for m in range(2)]
    for m, rows in enumerate(seen):
        right[m, torch.cat(rows)] = False
    unseen = right.shape[1] - torch.tensor([sum(map(len, rows)) for rows in seen])
    return float((right.sum(1) / unseen).mean())


def test_accuracy_is_near_that_of_pruning_by_magnitude(
    make_cohort: Make, all_digits: Examples
) -> None:
    pruned = accuracy(make_cohort, all_digits, L1Unstructured(density=0.2, scope="layer"))
    drawn = accuracy(make_cohort, all_digits, admm(density=0.2, rho=0.01))
    assert pruned > 0.88
    assert drawn > pruned - 0.02


def test_the_dense_network_is_the_one_that_all_others_share(make_cohort: Make) -> None:
    plugin = admm(every=1)
    cohort = make_cohort(MEMBERS, sparsifier=plugin, epochs=1)
    list(plugin.sparsify(cohort))
    dense = make_cohort(MEMBERS, epochs=1)
    dense.fit()
    assert cohort.original is not None
    assert torch.equal(cohort.original.weights.flat, dense._best.flat)
    assert cohort.memory == {}  # fine-tuning has none


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": 0}, "greater than 0"),
        ({"density": 1}, "less than 1"),
        ({"density": [0.1, 0.2]}, "valid number"),
        ({"rho": 0}, "greater than 0"),
        ({"rho": -1}, "greater than 0"),
        ({"rho": float("nan")}, "greater than|finite"),
        ({"rho": float("inf")}, "finite"),
        ({"rho": 3}, "rho is 3, above rho_most 1"),
        ({"rho_growth": 0.5}, "greater than or equal to 1"),
        ({"every": 0}, "greater than or equal to 1"),
        ({"admm_epochs": 0}, "greater than or equal to 1"),
        ({"scope": "network"}, "'global' or 'layer'|'layer' or 'global'"),
        ({"rhos": 1}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        admm(**options)


@pytest.mark.parametrize(
    ("plugin", "training", "words"),
    [
        (admm(), {"epochs": 2}, "every is 3, but this phase of ADMM has 2 epochs.*admm_epochs"),
        (admm(admm_epochs=2), {"epochs": 9}, "every is 3, but this phase of ADMM has 2 epochs"),
        (admm(), {"epochs": 9, "stop_after": 1}, "this phase of ADMM has 1 epochs"),
        (ADMMNN(quantise_epochs=1), {"epochs": 9}, "admm_nn: every is 3.*quantise_epochs"),
    ],
)
def test_a_phase_without_an_update_is_refused_before_training(
    make_cohort: Make, plugin: Sparsifier, training: dict[str, int], words: str
) -> None:
    cohort = make_cohort(MEMBERS, sparsifier=plugin, **training)
    with pytest.raises(RecipeError, match=words):
        next(iter(plugin.sparsify(cohort)))
    assert not cohort.records
