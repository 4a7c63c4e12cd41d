"""Faults that would print a wrong number without a word, each held by a test of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import privaudit
from privaudit import Examples, Outputs, Role, Split, load_recipe
from privaudit.cohort import Cohort, Journal, importance
from privaudit.cohort import answers as asking
from privaudit.cohort.answers import answers
from privaudit.experiment.attacking import signals_of
from privaudit.networks.network import Network
from privaudit.networks.state import State
from privaudit.train.dataset import DeviceDataset
from privaudit.train.matching import Matcher
from privaudit_plugins.attacks.label_only import LabelOnly
from privaudit_plugins.models.mlp import MLP

Make = Callable[..., Cohort]


def test_a_frozen_network_is_not_taken_for_a_free_one(make_cohort: Make, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    free = make_cohort(journal=journal)
    free.fit()
    frozen = make_cohort(journal=journal)
    frozen.freeze({name: torch.ones_like(mask) for name, mask in frozen.masks.items()})
    frozen.fit()
    assert frozen.records[0].found == 0
    for name, weight in frozen.weights.items():
        assert torch.equal(weight, frozen.initial_weights[name])
        assert not torch.equal(weight, free.weights[name])
    partly = make_cohort(journal=journal)
    partly.freeze({"4.bias": torch.ones_like(partly.masks["4.bias"])})
    partly.fit()
    assert partly.records[0].found == 0
    assert torch.equal(partly.weights["4.bias"], partly.initial_weights["4.bias"])


def _outputs(queries: int, noise: int) -> Outputs:
    g = torch.Generator().manual_seed(0)
    return Outputs(
        torch.randn(3, queries, 6, 2, generator=g),
        torch.randn(3, noise, 6, 2, generator=g),
        torch.rand(3, 6, generator=g),
    )


def test_an_attack_gets_no_more_than_it_asks_for() -> None:
    role = torch.tensor([[1, 2] * 3, [2, 1] * 3, [1, 2] * 3], dtype=torch.uint8)
    may = torch.tensor([[False, True, True]])
    split = Split(role, may, torch.tensor([0]), torch.arange(3))
    examples = Examples(
        torch.rand(6, 4), torch.arange(6) % 2, ("a", "b"), torch.zeros(4), torch.ones(4)
    )
    outputs = _outputs(queries=LabelOnly.queries + 2, noise=2)
    signals = signals_of(LabelOnly(), examples, split, outputs, outputs, 0, 0)
    assert signals.target.predicted.shape == (LabelOnly.queries, 6)
    assert signals.shadows.predicted.shape == (2, LabelOnly.queries, 6)
    predicted = outputs.logits[0, : LabelOnly.queries].argmax(-1)
    assert torch.equal(signals.target.predicted, predicted.short())
    for own in (signals.target, signals.shadows):
        assert not own.has_logits
        assert own.noisy is None
        assert own.gradient_norm is None


ALONE: dict[str, Any] = {
    "name": "beside",
    "dataset": {"name": "digits", "crop": 1},
    "split": {"protocol": "halves", "members": 60},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"epochs": 3, "lr": 0.1},
    "shadows": 8,
}


def test_an_attack_scores_the_same_beside_one_that_asks_for_more(tmp_path: Path) -> None:
    scores, confidences = [], []
    for number, attacks in enumerate((["label_only"], ["label_only", "lira_augmented"])):
        folder = tmp_path / str(number)
        recipe = load_recipe(ALONE | {"attacks": attacks})
        privaudit.run(recipe, folder, cache=tmp_path / "cache", device="cpu")
        with np.load(folder / "scores.npz", allow_pickle=False) as arrays:
            scores.append(arrays["score_0"])
            confidences.append(arrays["confidence_0"])
    assert np.array_equal(scores[0], scores[1])
    # What is kept of the target's answers is its answer to the example itself, query 0.
    assert np.array_equal(confidences[0], confidences[1])


def test_every_block_of_examples_has_noise_of_its_own(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, digits: Examples
) -> None:
    """A linear network tells its noise: noisy - clean = W (scale * noise)."""
    monkeypatch.setattr(asking, "_BLOCK", 100)
    cohort = make_cohort([20, 20], model=MLP(hidden=()))
    cohort.fit()
    everyone = torch.ones(2, 300, dtype=torch.bool)
    outputs = answers(cohort, everyone, noise=2)
    assert outputs.noisy is not None
    weight = cohort.weights["output.weight"]  # (M, 10, 64)
    moved = (outputs.noisy - outputs.logits) / outputs.noise_scale  # (M, D, N, C)
    # Noise of 64 numbers from 20 sums: the two models have seen the same.
    sums = torch.cat([moved[0], moved[1]], -1)  # (D, N, 20)
    matrix = torch.cat([weight[0], weight[1]])  # (20, 64)
    projected = sums @ torch.linalg.pinv(matrix).mT  # (D, N, 64), the noise as far as it is seen
    for one, other in ((0, 100), (100, 200), (0, 200)):
        pair = projected[:, one : one + 50], projected[:, other : other + 50]
        assert (pair[0] - pair[1]).abs().mean() > 0.1
    assert (projected[0] - projected[1]).abs().mean() > 0.1
    size = sums.square().sum(-1) / (matrix @ matrix.mT).trace()
    assert float(size.mean()) == pytest.approx(1, abs=0.1)


def test_of_epochs_that_come_equally_near_the_first_is_kept(
    make_cohort: Make, digits: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least trained network: later ones are as accurate, and tell more."""
    cohort = make_cohort([20])
    data = DeviceDataset(digits, torch.device("cpu"), torch.float64)
    matcher = Matcher(cohort.network, data, [torch.arange(10)], torch.tensor([[0.5, 0.9]]).double())
    curve = iter([0.2, 0.6, 0.6, 0.3, 0.6])
    monkeypatch.setattr(
        Matcher, "_accuracy", lambda self, now: torch.tensor([next(curve)]).double()
    )
    start = cohort.states()[0]
    for epoch in range(5):
        flat = torch.full_like(start.flat, float(epoch))[None]
        matcher.watch(State(flat, {}, torch.zeros(1, 0), {}))
    assert [float(kept.flat[0, 0]) for kept in matcher.kept] == [1.0, 1.0]


def test_roles_are_what_they_were() -> None:
    """Their numbers are in every stored split and every key."""
    assert [int(role) for role in Role] == [0, 1, 2, 3, 4]
    assert int(Role["MEMBER"]) == 1


def test_the_mean_gradient_is_over_all_rows(
    make_cohort: Make, digits: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "_ROWS", 7)  # the last part is smaller
    cohort = make_cohort([40], precision="fp64")
    rows = cohort.rows("member")[0]

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits, y)

    network: Network = cohort.network
    state = cohort.states()[0]
    leaf = state.flat.clone().requires_grad_()
    x = (digits.x[rows].double() - 8) / 8
    value = loss(network.forward(leaf, state.buffers, x)[0], digits.y[rows])
    (expected,) = torch.autograd.grad(value, leaf)
    found = network.flatten({n: g[0] for n, g in cohort.gradients(loss).items()}, leaf.detach())
    assert (found - expected).abs().max() < 1e-12
