"""Any network trains, and as it would alone; what cannot be trained is refused by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from brought_networks import BUILDERS, PLAIN, REFUSED, STACKED, Brought
from privaudit import Defense, Examples, Model, PluginError, Step
from privaudit.cohort import Cohort, Journal
from privaudit.cohort.answers import answers
from privaudit.keys import derive, fold, seeded
from privaudit.train.dataset import epoch_order
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.defenses.min_max import MinMax

Make = Callable[..., Cohort]
MEMBERS = [20, 32, 26]
CLOSE = 1e-10


def ways(cohort: Cohort) -> set[str]:
    return set(cohort._fits._ways.values())


def largest_difference(one: Cohort, other: Cohort, model: int = 0) -> float:
    mine, theirs = one.states()[0], other.states()[model]
    gaps = [(mine.flat - theirs.flat).abs().max()]
    gaps += [
        (b - theirs.buffers[n]).abs().max().double() for n, b in mine.buffers.items() if b.numel()
    ]
    return float(max(gaps))


@pytest.mark.parametrize("which", [*PLAIN, *STACKED, "counting"])
def test_a_network_has_the_weights_it_would_have_alone(make_cohort: Make, which: str) -> None:
    """In any company and any stack, whatever its author wrote."""
    options: dict[str, Any] = {"model": Brought(which=which), "epochs": 2, "lr": 0.05}
    together = make_cohort(MEMBERS, **options)
    before = together.states()
    together.fit()
    stacked = make_cohort(MEMBERS, stack=3, **options)
    stacked.fit()
    for model in range(3):
        alone = make_cohort(MEMBERS, models=[model], **options)
        alone.fit()
        assert largest_difference(alone, together, model) < CLOSE
        assert largest_difference(alone, stacked, model) < CLOSE
        moved = (before[model].flat - together.states()[model].flat).abs().max()
        assert moved > 1e-4, "nothing was trained"
    assert ways(together) <= ({"plain"} if which in PLAIN else {"vmapped", "plain"})


@pytest.mark.parametrize("which", [w for w in PLAIN if w != "encoder"])  # it has nn.Dropout
def test_the_plain_way_is_a_plain_loop(make_cohort: Make, digits: Examples, which: str) -> None:
    """Against a module and an optimiser of PyTorch's own, under the same seeds."""
    cohort = make_cohort(MEMBERS, model=Brought(which=which), epochs=2, lr=0.05, momentum=0.9)
    cohort.fit()
    assert ways(cohort) == {"plain"}
    x = (digits.x.double() - 8) / 8
    for m in (0, 2):
        seed = derive(cohort.seeds[m], "fit", 0)
        with seeded(derive(cohort.seeds[m], "build")):
            module = Brought(which=which).build(digits.shape, 10).double()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
        members = cohort._rows[m].member
        for epoch in range(2):
            order = epoch_order(members, derive(seed, "member"), epoch, cohort.training.batch_size)
            for s, rows in enumerate(order):
                module.train()
                with seeded(derive(_step_key(seed, epoch, s), "step")):
                    loss = cross_entropy(module(x[rows]), digits.y[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
        flat = nn.utils.parameters_to_vector(module.parameters())
        assert (cohort.states()[m].flat - flat).abs().max() < CLOSE


def _step_key(seed: int, epoch: int, step: int) -> int:
    return int(fold(fold(torch.tensor(seed), epoch), step))


@pytest.mark.parametrize(("which", "message"), REFUSED.items())
def test_what_cannot_be_trained_is_refused_before_training(
    make_cohort: Make, which: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privaudit.train.fit.train", lambda *given: pytest.fail("it was trained"))
    with pytest.raises(PluginError, match=f"model 'brought' {message}"):
        make_cohort(model=Brought(which=which)).fit()


@pytest.mark.parametrize("which", ["lstm", "encoder", "noise", "numpy_noise"])
def test_a_killed_run_goes_on_to_the_bit(make_cohort: Make, tmp_path: Path, which: str) -> None:
    options: dict[str, Any] = {"model": Brought(which=which), "epochs": 2}

    def script(cohort: Cohort) -> None:
        cohort.fit()
        cohort.prune(keep=0.6)
        cohort.fit(epochs=1)

    whole = make_cohort(MEMBERS, **options)
    script(whole)
    first = make_cohort(MEMBERS, journal=Journal(tmp_path), **options)
    first.fit()  # killed here
    again = make_cohort(MEMBERS, journal=Journal(tmp_path), **options)
    script(again)
    assert again.records[0].found == 3
    for one, other in zip(whole.states(), again.states(), strict=True):
        assert torch.equal(one.flat, other.flat)


@pytest.mark.parametrize("which", ["lstm", "encoder", "noise", "branch", "tied", "dict", "view"])
def test_attacks_and_sparsifiers_do_not_notice(make_cohort: Make, which: str) -> None:
    cohort = make_cohort([20, 20], model=Brought(which=which), epochs=2)
    cohort.fit()
    cohort.prune(keep=0.5)
    cohort.fit(epochs=1)
    for name, mask in cohort.masks.items():
        assert not cohort.weights[name][~mask].any()
    audited = torch.ones(2, 300, dtype=torch.bool)
    first = answers(cohort, audited, noise=1, gradient_norm=True)
    again = answers(cohort, audited, noise=1, gradient_norm=True)
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.logits[:, 0], cohort.logits().to(first.logits))
    assert first.gradient_norm is not None
    assert bool((first.gradient_norm > 0).any())
    assert bool(torch.isfinite(first.gradient_norm).all())
    gradients = cohort.gradients(cross_entropy)
    assert all(bool(torch.isfinite(g).all()) for g in gradients.values())
    assert any(bool(g.any()) for g in gradients.values())


def test_importance_is_the_gradient_that_autograd_gives(
    make_cohort: Make, digits: Examples
) -> None:
    cohort = make_cohort([20], model=Brought(which="lstm"))
    cohort.fit()
    module = Brought(which="lstm").build(digits.shape, 10).double()
    module.load_state_dict({n: w[0] for n, w in cohort.weights.items()})
    rows = cohort.rows("member")[0]
    loss = cross_entropy(module((digits.x[rows].double() - 8) / 8), digits.y[rows])
    torch.autograd.backward(loss)
    for name, gradient in cohort.gradients(cross_entropy).items():
        expected = module.get_parameter(name).grad
        assert expected is not None
        assert (gradient[0] - expected).abs().max() < 1e-12


class Clipped(Defense):
    """Gradients of single examples, each of norm one at most."""

    per_example: ClassVar[bool] = True
    name: Literal["clipped"] = "clipped"

    def example_gradient(self, gradient: Tensor) -> Tensor:
        norm: Tensor = gradient.norm()
        return gradient / norm.clamp(min=1)


def test_gradients_of_single_examples_are_taken_one_by_one(
    make_cohort: Make, digits: Examples
) -> None:
    cohort = make_cohort([16], model=Brought(which="lstm"), defense=Clipped(), epochs=1, lr=0.5)
    before = cohort.states()[0].flat
    rows = cohort.rows("member")[0]
    cohort.fit(momentum=0.0)
    assert ways(cohort) == {"plain"}
    module = Brought(which="lstm").build(digits.shape, 10).double()
    nn.utils.vector_to_parameters(before.clone(), module.parameters())
    total = torch.zeros_like(before)
    for row in rows:
        loss = cross_entropy(module((digits.x[row].double()[None] - 8) / 8), digits.y[row][None])
        parts = torch.autograd.grad(loss, list(module.parameters()))
        flat = torch.cat([part.flatten() for part in parts])
        total += flat / flat.norm().clamp(min=1)
    expected = before - 0.5 * total / len(rows)
    assert (cohort.states()[0].flat - expected).abs().max() < CLOSE


@pytest.mark.parametrize("defense", [DPSGD(), MinMax()], ids=["dp_sgd", "min_max"])
def test_defenses_do_not_notice(make_cohort: Make, defense: Defense) -> None:
    options: dict[str, Any] = {"defense": defense, "reference": 16, "epochs": 2}
    together = make_cohort([20, 24], model=Brought(which="gru"), **options)
    together.fit()
    for model in range(2):
        alone = make_cohort([20, 24], models=[model], model=Brought(which="gru"), **options)
        alone.fit()
        assert largest_difference(alone, together, model) < CLOSE


class Branching(Defense):
    """Its loss branches on the epoch, as one would write it for one model."""

    name: Literal["branching"] = "branching"

    def loss(self, step: Step) -> Tensor:
        loss = cross_entropy(step.logits, step.y)
        return loss if step.epoch < 1 else 2 * loss


def test_a_hook_that_cannot_be_stacked_is_called_model_by_model(
    make_cohort: Make, caplog: pytest.LogCaptureFixture, perceptron: Callable[..., Model]
) -> None:
    with caplog.at_level(logging.WARNING, logger="privaudit"):
        cohort = make_cohort([20, 20], model=perceptron(), defense=Branching(), epochs=2)
        cohort.fit()
    assert ways(cohort) == {"plain"}
    assert len([m for m in caplog.messages if "train the plain way, which is slower" in m]) == 1
    doubled = make_cohort([20, 20], model=perceptron(), epochs=2, milestones=(1,), schedule="step")
    assert doubled.training.rate(1) != doubled.training.rate(0)


def test_a_network_of_one_batch_size_is_asked_in_its_batches(make_cohort: Make) -> None:
    fixed = make_cohort([20, 32], model=Brought(which="fixed"), epochs=2, batch_size=16)
    free = make_cohort([20, 32], model=Brought(which="plain"), epochs=2, batch_size=16)
    for cohort in (fixed, free):
        cohort.fit()
    assert largest_difference(fixed, free) < CLOSE
    assert (fixed.logits() - free.logits()).abs().max() < CLOSE
    audited = torch.ones(2, 300, dtype=torch.bool)
    one, other = answers(fixed, audited, noise=1), answers(free, audited, noise=1)
    assert (one.logits - other.logits).abs().max() < CLOSE


def test_batch_norm_on_one_row_gets_a_sentence(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"one row.*training\.batch_size"):
        make_cohort(model=Brought(which="batch_norm"), batch_size=1).fit()


class Resting(nn.Module):
    """A perceptron whose BatchNorm stays in evaluation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8))
        self.out = nn.Linear(8, classes)

    def train(self, mode: bool = True) -> Resting:
        super().train(mode)
        self.body[2].eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(self.body(x).relu())
        return answer


def test_batch_norm_at_rest_is_allowed_under_differential_privacy(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILDERS, "resting", Resting)
    cohort = make_cohort([16], model=Brought(which="resting"), defense=Clipped(), epochs=1)
    before = cohort.states()[0].buffers["body.2.running_mean"]
    cohort.fit()
    assert torch.equal(cohort.states()[0].buffers["body.2.running_mean"], before)
    with pytest.raises(PluginError, match="which BatchNorm"):
        make_cohort([16], model=Brought(which="batch_norm"), defense=Clipped()).fit()
