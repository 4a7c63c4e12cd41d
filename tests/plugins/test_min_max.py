"""Min-max: what each player minimises, and which weights it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import (
    Examples,
    Model,
    PluginError,
    Step,
)
from privaudit.cohort import Cohort
from privaudit.keys import derive
from privaudit.testing import check_plugin
from privaudit.train.dataset import epoch_order
from privaudit_plugins.defenses.min_max import InferenceNetwork, MinMax

Make = Callable[..., Cohort]
Array = NDArray[np.float64]


def made_up(companion: Callable[..., Tensor]) -> Step:
    g = torch.Generator().manual_seed(0)
    return Step(
        logits=torch.randn(4, 3, generator=g, dtype=torch.float64),
        y=torch.tensor([0, 1, 2, 0]),
        epoch=torch.tensor(0),
        key=torch.tensor(0),
        reference_logits=torch.randn(5, 3, generator=g, dtype=torch.float64),
        reference_y=torch.tensor([2, 1, 0, 1, 1]),
        companion=companion,
    )


def guess(logits: Tensor, y: Tensor) -> Tensor:
    """An attacker that looks at the true class's logit."""
    return 2 * logits[torch.arange(len(y)), y] - 0.3


def log_share(odds: Tensor) -> float:
    """Mean log of the probability."""
    return float(np.log(1 / (1 + np.exp(-odds.numpy()))).mean())


FORMS: dict[Literal["log", "linear"], Callable[[Array], float]] = {
    "log": lambda h: float(np.log(h).mean()),  # the paper's
    "linear": lambda h: float((h - 0.5).mean()),  # of the code published by its authors
}


@pytest.mark.parametrize("form", FORMS)
def test_both_players_minimise_what_is_published(form: Literal["log", "linear"]) -> None:
    step, defense = made_up(guess), MinMax(weight=3.0, form=form)
    assert step.reference_logits is not None
    assert step.reference_y is not None
    inside = log_share(guess(step.logits, step.y))
    outside = log_share(-guess(step.reference_logits, step.reference_y))
    assert abs(float(defense.companion_loss(step)) + (inside + outside) / 2) < 1e-12
    p = np.exp(step.logits.numpy()) / np.exp(step.logits.numpy()).sum(1, keepdims=True)
    cost = -np.log(p[np.arange(4), step.y.numpy()]).mean()
    h = 1 / (1 + np.exp(-guess(step.logits, step.y).numpy()))
    assert abs(float(defense.loss(step)) - (cost + 3 * FORMS[form](h))) < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_an_attacker_in_the_dark_pulls_as_its_form_says(form: Literal["log", "linear"]) -> None:
    """By its log-odds o: of log h it is 1 - h, of h it is h (1 - h); o = -4 tells them apart."""
    odds = torch.full((4,), -4.0, dtype=torch.float64, requires_grad=True)
    loss = MinMax(weight=3.0, form=form).loss(made_up(lambda logits, y: odds))
    h = 1 / (1 + np.exp(4.0))
    pull = {"log": 1 - h, "linear": h * (1 - h)}[form]
    gradient = torch.autograd.grad(loss, odds)[0]
    assert (gradient - 3 * pull / 4).abs().max() < 1e-12


def test_the_form_of_the_paper_is_written_nowhere_and_the_other_is() -> None:
    """So that recipes of before there were two are the same recipes."""
    assert MinMax() == MinMax(form="log")
    assert "form" not in MinMax(form="log").model_dump(mode="json")
    assert MinMax(form="linear").model_dump(mode="json")["form"] == "linear"
    with pytest.raises(ValidationError, match="'log' or 'linear'"):
        MinMax.model_validate({"form": "square"})


def test_the_attacker_has_the_published_layers() -> None:
    sizes = [tuple(p.shape) for p in MinMax().companion(10).parameters() if p.ndim == 2]
    answer = [(1024, 10), (512, 1024), (64, 512)]
    label = [(512, 10), (64, 512)]
    joint = [(256, 128), (64, 256), (1, 64)]
    assert sizes == answer + label + joint
    half = [tuple(p.shape) for p in MinMax(width=0.5).companion(10).parameters() if p.ndim == 2]
    assert half[:3] == [(512, 10), (256, 512), (32, 256)]
    least = [tuple(p.shape) for p in MinMax(width=0.01).companion(10).parameters() if p.ndim == 2]
    assert least == [(16, 10), (16, 16), (16, 16), (16, 10), (16, 16), (16, 32), (16, 16), (1, 16)]


def test_the_attacker_sees_the_posterior_and_the_label() -> None:
    torch.manual_seed(0)
    network = InferenceNetwork(3, 0.1).double()
    logits, y = torch.randn(2, 3, dtype=torch.float64), torch.tensor([0, 1])
    odds = network(logits, y)
    assert odds.shape == (2,)
    assert torch.allclose(network(logits + 7, y), odds, atol=1e-12)  # the same posterior
    assert (network(logits, 1 - y) - odds).abs().min() > 1e-6
    assert (network(2 * logits, y) - odds).abs().min() > 1e-6


Labelled = tuple[Tensor, Tensor]


def attackers_steps(
    module: nn.Module, second: nn.Module, shown: list[tuple[Labelled, Labelled]]
) -> None:
    """Adam by hand on the mean binary cross-entropy of members and reference examples."""
    weights = list(second.parameters())
    first, square = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for t, (inside, away) in enumerate(shown, 1):
        members = second(module(inside[0]).detach(), inside[1]).sigmoid()
        others = second(module(away[0]).detach(), away[1]).sigmoid()
        loss = -members.log().mean() / 2 - (1 - others).log().mean() / 2
        gradients = torch.autograd.grad(loss, weights)
        for w, g, m, v in zip(weights, gradients, first, square, strict=True):
            m.lerp_(g, 0.1)
            v.mul_(0.999).add_(0.001 * g**2)
            with torch.no_grad():
                w.sub_(0.01 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))


def test_the_attacker_moves_first_and_each_player_moves_its_own_weights(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    defense = MinMax(weight=2.0, steps=3, lr=0.01, width=0.02)
    cohort = make_cohort([16, 16], defense=defense, reference=16, epochs=1, lr=0.5, momentum=0.0)
    starts, roles = cohort.states(), cohort._rows
    cohort.fit()
    x = (digits.x.double() - digits.mean) / digits.std
    for start, end, own, seed in zip(starts, cohort.states(), roles, cohort.seeds, strict=True):
        module = perceptron().build((1, 8, 8), 10).double()
        second = InferenceNetwork(10, 0.02).double()
        nn.utils.vector_to_parameters(start.flat.clone(), module.parameters())
        nn.utils.vector_to_parameters(start.companion.clone(), second.parameters())
        fit = derive(seed, "fit", 0)
        shown: list[tuple[Labelled, Labelled]] = []
        for again in range(3):  # as many members, and reference examples, as a batch holds
            member, other = (
                epoch_order(rows, derive(fit, "companion", role, 0), again, 16)[0]
                for role, rows in (("member", own.member), ("reference", own.reference))
            )
            shown.append(((x[member], digits.y[member]), (x[other], digits.y[other])))
        attackers_steps(module, second, shown)
        rows = epoch_order(own.member, derive(fit, "member"), 0, 16)[0]
        logits = module(x[rows])
        gain = second(logits, digits.y[rows]).sigmoid().log().mean()
        loss = cross_entropy(logits, digits.y[rows]) + 2 * gain
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        step = torch.cat([g.flatten() for g in gradients])
        trained = nn.utils.parameters_to_vector(second.parameters())
        assert (end.companion - trained).abs().max() < 1e-9
        assert (end.flat - (start.flat - 0.5 * step)).abs().max() < 1e-9
        assert (end.companion - start.companion).abs().max() > 1e-3


def test_min_max_without_reference_examples_is_refused(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"'min_max'.*split\.reference"):
        make_cohort(defense=MinMax(width=0.02), reference=0).fit()


@pytest.mark.parametrize("options", [{}, {"width": 0.05, "steps": 2}])
def test_min_max_keeps_the_contract(options: dict[str, Any]) -> None:
    check_plugin(MinMax, **options)
