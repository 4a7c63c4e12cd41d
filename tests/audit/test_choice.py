"""A quicker way is taken where it gives what the plain one gives, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from brought_networks import Brought
from privaudit import Defense, Examples, Step
from privaudit.cohort import Cohort
from privaudit.cohort.gradient_norms import gradient_norms
from privaudit.experiment.target_answers import check_answers
from privaudit.networks import vmapped
from privaudit.networks.answer import Answers
from privaudit.train.ways import activations, choose, layers, table
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP

Make = Callable[..., Cohort]


def way(cohort: Cohort) -> str:
    cohort.fit()
    (chosen,) = set(cohort._fits._ways.values())
    return chosen


def spoilt(monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module], entry: Any) -> None:
    monkeypatch.setitem(table.LAYERS, kind, replace(table.LAYERS[kind], **entry))


def test_a_wrong_derivative_is_seen_before_training(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = make_cohort(model=MLP(hidden=(8,), activation="tanh"))
    assert way(right) == "chain"
    identity = activations.ACTIVATIONS[nn.Identity]
    wrong = activations.Activation(lambda layer, x: x.tanh(), identity.backward)
    spoilt(monkeypatch, nn.Tanh, {"forward": wrong})
    with caplog.at_level(logging.WARNING, logger="privaudit"):
        other = make_cohort(model=MLP(hidden=(8,), activation="tanh"))
        assert way(other) == "vmapped"
    assert "gradients come out differently" in caplog.text
    for one, two in zip(right.states(), other.states(), strict=True):
        assert (one.flat - two.flat).abs().max() < 1e-11


def test_a_wrong_answer_is_seen_before_training(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    relu = activations.ACTIVATIONS[nn.ReLU]
    wrong = activations.Activation(lambda layer, x: 2 * relu.forward(layer, x), relu.backward)
    spoilt(monkeypatch, nn.ReLU, {"forward": wrong})
    with caplog.at_level(logging.WARNING, logger="privaudit"):
        assert way(make_cohort(model=CNN(width=2))) == "vmapped"
    assert "loss comes out differently" in caplog.text


def test_statistics_that_do_not_move_are_seen(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forgetful(now: Any, name: str, layer: nn.Module, x: Tensor) -> Tensor:
        before = dict(now.buffers)
        answer: Tensor = layers.batch_norm(now, name, layer, x)
        now.buffers.update(before)
        return answer

    spoilt(monkeypatch, nn.BatchNorm2d, {"forward": forgetful})
    with caplog.at_level(logging.WARNING, logger="privaudit"):
        assert way(make_cohort(model=CNN(width=2, norm="batch"))) == "vmapped"
    assert "running_mean" in caplog.text


def test_a_buffer_that_a_network_replaces_is_kept(make_cohort: Make) -> None:
    """`self.seen = self.seen + 1` in forward is lost where the network is a function."""
    cohort = make_cohort([20, 33], model=Brought(which="counting"), epochs=3, batch_size=16)
    assert way(cohort) == "plain"
    steps = [3 * 2, 3 * 3]
    assert [float(state.buffers["seen"]) for state in cohort.states()] == steps


def test_one_after_another_means_each_its_own() -> None:
    function = vmapped.one_by_one(lambda x, more: (x * 2, {"sum": (x + more["y"]).sum()}), 3)
    x, y = torch.randn(3, 4), torch.randn(3, 4)
    double, sums = function(x, {"y": y, "none": None})
    assert torch.equal(double, x * 2)
    assert torch.allclose(sums["sum"], (x + y).sum(1))


@pytest.mark.parametrize("which", ["plain", "gru"])
def test_pruned_weights_take_no_part_in_a_gradient_s_norm(
    make_cohort: Make, digits: Examples, which: str
) -> None:
    """With every weight pruned nothing is left to move, quickly or one by one."""
    cohort = make_cohort([20], model=Brought(which=which))
    state, data = cohort.states()[0], cohort.data
    everything = torch.ones(cohort.network.size, dtype=torch.bool)
    norms = gradient_norms(cohort.network, state, everything, data)
    half = everything.clone()
    half[::2] = False
    less = gradient_norms(cohort.network, state, half, data)
    assert bool((norms > 0).all())
    assert bool((less < norms).all())
    assert not gradient_norms(cohort.network, state, ~everything, data).any()


def test_gradients_of_sure_networks_lose_no_digits(make_cohort: Make) -> None:
    """Against autograd in float64, at log-odds where float32 has no digit of 1 - p left."""
    cohort = make_cohort([60], model=Brought(which="plain"), epochs=30, precision="fp32")
    cohort.fit()
    state, data, network = cohort.states()[0], cohort.data, cohort.network
    state = replace(state, flat=3 * state.flat)
    everything = torch.ones(network.size, dtype=torch.bool)
    norms = gradient_norms(network, state, everything, data)
    flat = state.flat.double().requires_grad_()
    rows = torch.arange(len(data.y))
    logits, _ = network.forward(flat, state.buffers, data.plain(rows).double())
    loss = torch.nn.functional.cross_entropy(logits, data.y, reduction="none")
    checked = 0
    for row in ((loss < 1e-7) & (loss > 1e-13)).nonzero()[:40, 0].tolist():
        (gradient,) = torch.autograd.grad(loss[row], flat, retain_graph=True)
        assert float(norms[row]) == pytest.approx(float(gradient.norm()), rel=2e-3)
        checked += 1
    assert checked > 5


def test_asking_leaves_a_network_as_it_was(make_cohort: Make, digits: Examples) -> None:
    cohort = make_cohort(model=CNN(width=2, norm="batch"))
    cohort.fit()
    module = cohort.network.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    buffers = {name: b.clone() for name, b in cohort.states()[0].buffers.items()}
    module.train()
    cohort.logits()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    for name, buffer in cohort.states()[0].buffers.items():
        assert torch.equal(buffer, buffers[name])


def test_asking_does_not_count_as_training(make_cohort: Make) -> None:
    """A buffer that a network changes in place, in evaluation too, is as training left it."""
    cohort = make_cohort([20], model=Brought(which="in_place"), epochs=3, batch_size=16)
    cohort.fit()
    assert float(cohort.states()[0].buffers["seen"]) == 3 * 2
    state, answers = cohort.states()[0], Answers(cohort.network)
    for _ in range(2):
        answers.to_rows(state, cohort.data.plain, torch.arange(10))
    assert float(state.buffers["seen"]) == 3 * 2


class Weighted(Defense):
    """Has an option that is a mapping, which cannot be hashed."""

    name: Literal["weighted"] = "weighted"
    weights: dict[str, float] = Field({"member": 0.5})

    def loss(self, step: Step) -> Tensor:
        return self.weights["member"] * super().loss(step)


def test_another_precision_is_another_choice(make_cohort: Make) -> None:
    """Products of chains know no bf16; a defense with any options may be in force."""
    cohort = make_cohort(model=MLP(hidden=(8,)), defense=Weighted(), precision="fp32")
    cohort.fit()
    cohort.fit(precision="bf16")
    assert list(cohort._fits._ways.values()) == ["chain", "vmapped"]


def test_a_target_that_views_its_images_is_asked_in_their_usual_order(make_cohort: Make) -> None:
    pixels = torch.randint(0, 17, (300, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    y = torch.arange(300) % 10
    scale = torch.tensor(8.0)
    examples = Examples(pixels.to(torch.uint8), y, tuple("0123456789"), scale, scale)
    cohort = make_cohort(model=Brought(which="view"), examples=examples)
    check_answers(cohort, examples, "target.safetensors")
    assert cohort.network.contiguous
    assert bool(torch.isfinite(cohort.logits()).all())


def test_the_ways_are_listed_quickest_first() -> None:
    assert list(choose.WAYS) == ["graph", "chain", "vmapped", "plain"]
