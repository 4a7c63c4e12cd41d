"""Hooks of a defense beside its loss: schedule, inputs, sampling, answers, notes and ε."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from privaudit import (
    Defense,
    Examples,
    PluginError,
    Step,
    Training,
)
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.keys import derive, uniform
from privaudit.train.dataset import epoch_order, poisson_order

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]


class Brief(Defense):
    name: Literal["brief"] = "brief"

    def schedule(self, training: Training) -> Training:
        return training.model_copy(update={"stop_after": 2})


class Shifted(Defense):
    """Adds to every example a number that the loss draws again."""

    name: Literal["shifted"] = "shifted"

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        return x + uniform(key, 1, dtype=x.dtype)

    def loss(self, step: Step) -> Tensor:
        return cross_entropy(step.logits, step.y) * uniform(step.key, 1, dtype=step.logits.dtype)[0]


class Sampled(Defense):
    """Poisson sampling; `whole` takes no account of it."""

    per_example: ClassVar[bool] = True
    sampling: ClassVar[str] = "poisson"
    name: Literal["sampled"] = "sampled"
    bound: float = 1.0

    def example_gradient(self, gradient: Tensor) -> Tensor:
        factor: Tensor = self.bound / gradient.norm()
        return gradient * factor.clamp(max=1)


class Loose(Defense):
    sampling: ClassVar[str] = "poisson"
    name: Literal["loose"] = "loose"


class Guarded(Defense):
    """Answers with its companion's opinion."""

    name: Literal["guarded"] = "guarded"

    def companion(self, classes: int) -> nn.Module:
        return Opinion(classes)

    def companion_loss(self, step: Step) -> Tensor:
        assert step.companion is not None
        return -logsigmoid(step.companion(step.logits, step.y)).mean()

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        assert companion is not None
        return logits + companion(logits, logits.argmax(-1))[:, None]


class Opinion(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(classes, 1)

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        opinion: Tensor = self.linear(logits)[:, 0]
        return opinion


def test_a_defense_may_end_training_early(make_cohort: Make) -> None:
    brief = make_cohort(defense=Brief(), epochs=4, schedule="cosine")
    brief.fit()
    until = make_cohort(epochs=4, schedule="cosine", stop_after=2)
    until.fit()
    whole = make_cohort(epochs=4, schedule="cosine")
    whole.fit()
    whole.rewind(2)
    for name, weight in brief.weights.items():
        assert torch.equal(weight, until.weights[name])
        assert torch.equal(weight, whole.weights[name])  # the schedule is that of four epochs
    assert brief.records[0].epochs == 2


def test_inputs_and_loss_share_their_randomness(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Any]
) -> None:
    cohort = make_cohort([16], defense=Shifted(), epochs=1, momentum=0)
    cohort.fit()
    drawn: list[float] = []

    class Watching(Shifted):
        def inputs(self, x: Tensor, key: Tensor) -> Tensor:
            drawn.append(float(uniform(key, 1, dtype=torch.float64)))
            return super().inputs(x, key)

    key = derive(derive(cohort.seeds[0], "fit", 0), "member")
    rows = epoch_order(cohort._rows[0].member, key, 0, 16)[0]
    # The only number u for which one plain step from the initial weights gives these weights.
    module = perceptron().build(digits.shape, 10).double()
    x, y = (digits.x.double() - 8) / 8, digits.y
    start, moved = cohort.initial_weights, cohort.weights

    def gap(u: float) -> float:
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(start[name][0])
        module.zero_grad()
        loss = cross_entropy(module(x[rows] + u), y[rows]) * u
        torch.autograd.backward(loss)
        gaps = [
            (value.detach() - 0.1 * value.grad - moved[name][0]).abs().max()
            for name, value in module.named_parameters()
            if value.grad is not None
        ]
        return float(torch.stack(gaps).max())

    low, high = 0.0, 1.0
    for _ in range(200):  # golden-section search
        a, b = low + 0.382 * (high - low), low + 0.618 * (high - low)
        low, high = (low, b) if gap(a) < gap(b) else (a, high)
    assert gap(low) < 1e-9


def test_poisson_batches_are_coins_of_their_own() -> None:
    rows = torch.arange(500, 900)
    counts, sizes = torch.zeros(400), []
    for epoch in range(200):
        order, real = poisson_order(rows, 7, epoch, 40)
        assert order.shape == real.shape
        assert len(order) == 10
        assert bool(((order >= 500) & (order < 900)).all())
        for batch, there in zip(order, real, strict=True):
            chosen = batch[there]
            assert len(chosen.unique()) == len(chosen)
            counts[chosen - 500] += 1
            sizes.append(len(chosen))
    size = torch.tensor(sizes, dtype=torch.float64)
    assert abs(float(size.mean()) - 40) < 5 * (36 / 2000) ** 0.5
    assert 0.8 < float(size.var()) / 36 < 1.2  # binomial: 400 x 0.1 x 0.9
    assert ((counts - 200).abs() < 6 * (2000 * 0.09) ** 0.5).all()


def test_padding_of_poisson_batches_counts_nothing(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Any]
) -> None:
    cohort = make_cohort(MEMBERS, defense=Sampled(bound=0.3), epochs=2)
    cohort.fit()
    for m, members in enumerate(MEMBERS):
        module = perceptron().build(digits.shape, 10).double()
        x = (digits.x.double() - 8) / 8
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(cohort.initial_weights[name][m])
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        seed = derive(derive(cohort.seeds[m], "fit", 0), "poisson")
        for epoch in range(2):
            order, real = poisson_order(cohort._rows[m].member, seed, epoch, 16)
            for batch, there in zip(order, real, strict=True):
                total = torch.zeros(cohort.network.size, dtype=torch.float64)
                for row in batch[there]:
                    loss = cross_entropy(module(x[row][None]), digits.y[row][None])
                    gradients = torch.autograd.grad(loss, list(module.parameters()))
                    own = torch.cat([g.flatten() for g in gradients])
                    total += own * min(1.0, 0.3 / float(own.norm()))
                mean = members / len(order)  # what a batch holds on average, not what it holds
                parts = (total / mean).split_with_sizes(cohort.network.sizes)
                for parameter, part in zip(module.parameters(), parts, strict=True):
                    parameter.grad = part.view_as(parameter)
                optimizer.step()
        flat = nn.utils.parameters_to_vector(module.parameters())
        assert (cohort.states()[m].flat - flat).abs().max() < 1e-12


def test_poisson_sampling_alone_and_together_is_the_same(make_cohort: Make) -> None:
    together = make_cohort(MEMBERS, defense=Sampled(), epochs=2)
    together.fit()
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], defense=Sampled(), epochs=2)
        alone.fit()
        assert (together.states()[m].flat - alone.states()[0].flat).abs().max() < 1e-12


def test_poisson_sampling_needs_gradients_of_single_examples(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"'loose'.*per_example = True"):
        make_cohort(defense=Loose()).fit()


def test_records_say_what_a_defense_had_a_say_in(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, defense=Sampled(), epochs=2)
    cohort.fit()
    cohort.fit(epochs=1, defense=Defense(name="none"))
    first, second = cohort.records
    assert (first.rate, first.defended) == (1 / 2, 2 * 2)  # 20 members in batches of 16
    assert second.defended == 0


def test_answers_pass_the_trained_companion(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, defense=Guarded(), epochs=1, reference=20)
    cohort.fit()
    audited = torch.ones(3, len(cohort.data.y), dtype=torch.bool)
    outputs = answers(cohort, audited).logits[:, 0]
    plain = cohort.logits()
    for m in range(3):
        second = cohort.states()[m].companion
        weight, bias = second[:10], second[10]
        assert (outputs[m] - plain[m] - (plain[m] @ weight + bias)[:, None]).abs().max() < 1e-12


def test_notes_belong_to_one_level_and_one_fork(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS)
    cohort.note("size", torch.tensor([1, 2, 3]))
    fork = cohort.fork()
    fork.note("other", torch.zeros(3))
    assert fork.take_notes().keys() == {"size", "other"}
    notes = cohort.take_notes()
    assert notes.keys() == {"size"}
    assert notes["size"].tolist() == [1, 2, 3]
    assert cohort.take_notes() == {}
    with pytest.raises(PluginError, match=r"note\('size'\).*3 models"):
        cohort.note("size", torch.zeros(2))


def test_pruned_weights_take_no_part_in_a_clipped_norm(make_cohort: Make) -> None:
    """With every gradient clipped, what moves has the norm that the bound leaves to it alone."""
    cohort = make_cohort([16], defense=Sampled(bound=1e-3), epochs=1, momentum=0, lr=1.0)
    cohort.prune(keep=0.1)
    before = cohort.states()[0].flat
    cohort.fit()
    moved = cohort.states()[0].flat - before
    rows = cohort._rows[0].member
    module = cohort.network
    total = torch.zeros_like(before)
    x, y = cohort.data.plain(rows), cohort.data.y[rows]
    kept = cohort.kept[0]
    for row in range(16):
        flat = before.clone().requires_grad_()
        loss = cross_entropy(module.forward(flat, {}, x[row][None])[0], y[row][None])
        own = torch.autograd.grad(loss, flat)[0] * kept
        total -= own * min(1.0, 1e-3 / float(own.norm())) / 16
    assert (moved - total).abs().max() < 1e-12
