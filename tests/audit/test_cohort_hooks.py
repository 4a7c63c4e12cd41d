"""Every hook of a sparsifier and a defense, each by a small plugin and a formula of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from privaudit import (
    Defense,
    Examples,
    Model,
    PluginError,
    Sparsifier,
    Step,
    Weights,
)
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.keys import derive, normal
from privaudit.train.dataset import epoch_order

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]  # two and three batches of 16


class Ridge(Sparsifier):
    name: Literal["ridge"] = "ridge"
    strength: float = 0.02

    def penalty(self, weights: Weights) -> Tensor:
        return self.strength / 2 * torch.stack([w.square().sum() for w in weights.values()]).sum()


class LinearOnly(Sparsifier):
    """A penalty that tells layers apart by the module it is given."""

    name: Literal["linear_only"] = "linear_only"

    def penalty(self, weights: Weights) -> Tensor:
        linear = [
            f"{n}.weight" for n, m in weights.module.named_modules() if isinstance(m, nn.Linear)
        ]
        return torch.stack([weights[n].abs().sum() for n in linear]).sum()


class TopK(Sparsifier):
    """Only the k largest weights of the first layer are not zero, from an epoch on."""

    name: Literal["top_k"] = "top_k"
    k: int = 50
    start: int = 0

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        weight = weights["1.weight"]
        threshold = weight.abs().flatten().topk(self.k).values[-1]
        kept = torch.where(weight.abs() >= threshold, weight, 0)
        return {"1.weight": torch.where(epoch >= self.start, kept, weight)}


class Everywhere(Sparsifier):
    name: Literal["everywhere"] = "everywhere"

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        return {name: weight + 1 for name, weight in weights.items()}


class Inference(nn.Module):
    """Guesses membership from logits and label."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * classes, 8, bias=False)
        self.out = nn.Linear(8, 1)
        self.norm = nn.BatchNorm1d(8)  # a companion may keep statistics, too

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        one_hot = (y[:, None] == torch.arange(logits.shape[-1])).to(logits.dtype)
        hidden = self.hidden(torch.cat([logits.softmax(-1), one_hot], -1))
        guess: Tensor = self.out(self.norm(hidden).relu())[:, 0]
        return guess


class MinMax(Defense):
    reference: ClassVar[bool] = True
    name: Literal["min_max"] = "min_max"
    weight: float = 1.0

    def companion(self, classes: int) -> nn.Module:
        return Inference(classes)

    def companion_loss(self, step: Step) -> Tensor:
        assert step.companion is not None
        inside = step.companion(step.logits, step.y)
        outside = step.companion(step.reference_logits, step.reference_y)
        return -(logsigmoid(inside).mean() + logsigmoid(-outside).mean()) / 2

    def loss(self, step: Step) -> Tensor:
        assert step.companion is not None
        gain = logsigmoid(step.companion(step.logits, step.y)).mean()
        return cross_entropy(step.logits, step.y) + self.weight * gain


class Private(Defense):
    """Clipping and noise, as DP-SGD has them."""

    per_example: ClassVar[bool] = True
    name: Literal["private"] = "private"
    bound: float = 1e9
    noise: float = 0.0

    def example_gradient(self, gradient: Tensor) -> Tensor:
        factor: Tensor = self.bound / gradient.norm()
        return gradient * factor.clamp(max=1)

    def batch_gradient(self, total: Tensor, count: Tensor, key: Tensor) -> Tensor:
        drawn = normal(key, len(total), dtype=total.dtype)
        return (total + self.noise * drawn) / count


class Smoothed(Defense):
    """A loss of its own that depends on the epoch and the step's key."""

    name: Literal["smoothed"] = "smoothed"

    def loss(self, step: Step) -> Tensor:
        noise = normal(step.key, *step.logits.shape, dtype=step.logits.dtype)
        return cross_entropy(step.logits + 0.1 * noise, step.y) * torch.where(step.epoch < 1, 1, 2)


class Rounded(Defense):
    name: Literal["rounded"] = "rounded"

    def respond(self, logits: Tensor, companion: object) -> Tensor:
        assert logits.ndim == 2
        return logits.round()


def weights_of(cohort: Cohort, **fit: Any) -> dict[str, Tensor]:
    cohort.fit(**fit)
    return cohort.weights


def assert_close(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    for name, weight in one.items():
        assert (weight - other[name]).abs().max() < 1e-12, name


def batches(cohort: Cohort, m: int, role: str, fit: int = 0) -> list[list[Tensor]]:
    """The batches of each epoch of one model."""
    seed = derive(derive(cohort.seeds[m], "fit", fit), role)
    rows, training = getattr(cohort._rows[m], role), cohort.training
    return [
        list(epoch_order(rows, seed, epoch, training.batch_size))
        for epoch in range(training.epochs)
    ]


def turns(cohort: Cohort, m: int, role: str, epoch: int) -> Iterator[Tensor]:
    """The batches that one model's companion draws in an epoch, as many as it needs."""
    seed = derive(derive(cohort.seeds[m], "fit", 0), "companion", role, epoch)
    rows, size = getattr(cohort._rows[m], role), cohort.training.batch_size
    for again in count():
        yield from epoch_order(rows, seed, again, size)


def plain(cohort: Cohort, m: int, model: Model, examples: Examples) -> tuple[nn.Module, Tensor]:
    """One model's network with its initial weights, and all examples normalised."""
    module = model.build(examples.shape, 10).double()
    with torch.no_grad():
        for name, value in module.named_parameters():
            value.copy_(cohort.initial_weights[name][m])
    return module, (examples.x.double() - 8) / 8


HOOKS: dict[str, dict[str, Any]] = {
    "penalty": {"sparsifier": Ridge()},
    "project": {"sparsifier": TopK()},
    "companion": {"defense": MinMax()},
    "per example": {"defense": Private(bound=0.5, noise=0.1), "sparsifier": Ridge()},
    "loss": {"defense": Smoothed(), "augment": True},
}


@pytest.mark.parametrize("options", HOOKS.values(), ids=HOOKS)
def test_a_hook_acts_in_a_cohort_as_it_does_alone(
    make_cohort: Make, perceptron: Callable[..., Model], options: dict[str, Any]
) -> None:
    options = {"model": perceptron(dropout=0.1), "patience": 1, "epochs": 3, **options}
    together = [make_cohort(MEMBERS, stack=stack, **options) for stack in (3, 2)]
    for cohort in together:
        cohort.fit()
        cohort.fit(epochs=1)
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], **options)
        alone.fit()
        alone.fit(epochs=1)
        expected = alone.states()[0]
        for cohort in together:
            found = cohort.states()[m]
            assert (found.flat - expected.flat).abs().max() < 1e-12
            assert found.companion.shape == expected.companion.shape
            if found.companion.numel():
                assert (found.companion - expected.companion).abs().max() < 1e-12
            for name, buffer in expected.companion_buffers.items():
                assert (found.companion_buffers[name] - buffer).abs().max() < 1e-12


def test_a_ridge_penalty_is_weight_decay(make_cohort: Make) -> None:
    penalised = weights_of(make_cohort(MEMBERS, sparsifier=Ridge(strength=0.02)))
    decayed = weights_of(make_cohort(MEMBERS, weight_decay=0.02))
    assert_close(penalised, decayed)
    assert not torch.equal(penalised["1.weight"], weights_of(make_cohort(MEMBERS))["1.weight"])


def test_a_penalty_can_tell_layers_apart(make_cohort: Make) -> None:
    shrunk = weights_of(make_cohort(sparsifier=LinearOnly(), epochs=4, lr=0.01))
    free = weights_of(make_cohort(epochs=4, lr=0.01))
    assert float(shrunk["1.weight"].abs().sum()) < 0.7 * float(free["1.weight"].abs().sum())


@pytest.mark.parametrize("start", [0, 1])
def test_a_projection_holds_after_every_step(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model], start: int
) -> None:
    cohort = make_cohort(MEMBERS, sparsifier=TopK(start=start), epochs=3)
    found = weights_of(cohort)
    assert (found["1.weight"] != 0).flatten(1).sum(1).tolist() == [50] * 3
    for m in range(3):
        module, x = plain(cohort, m, perceptron(), digits)
        weight = module.get_parameter("1.weight")
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        for epoch, order in enumerate(batches(cohort, m, "member")):
            for rows in order:
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(module(x[rows]), digits.y[rows]))
                optimizer.step()
                if epoch >= start:
                    smallest = weight.abs().flatten().argsort()[:-50]
                    with torch.no_grad():
                        weight.view(-1)[smallest] = 0
        assert (found["1.weight"][m] - weight).abs().max() < 1e-12


def test_a_projection_moves_no_pruned_or_frozen_weight(make_cohort: Make) -> None:
    cohort = make_cohort(sparsifier=Everywhere(), epochs=1)
    cohort.prune(keep=0.5)
    cohort.freeze({"4.bias": torch.ones(2, 10, dtype=torch.bool)})
    before, masks = cohort.weights, cohort.masks
    after = weights_of(cohort)
    assert not bool(after["1.weight"][~masks["1.weight"]].any())
    assert torch.equal(after["4.bias"], before["4.bias"])
    assert bool((after["1.bias"] > before["1.bias"] + 1).all())


def test_the_second_player_is_that_of_a_plain_loop(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    defense = MinMax(weight=0.5)
    cohort = make_cohort(MEMBERS, defense=defense, epochs=3, reference=20)
    starts = cohort.states()
    cohort.fit()
    for m in range(3):
        module, x = plain(cohort, m, perceptron(), digits)
        second = Inference(10).double()
        nn.utils.vector_to_parameters(starts[m].companion, second.parameters())
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        adam = torch.optim.Adam(second.parameters(), lr=1e-3)
        for epoch, order in enumerate(batches(cohort, m, "member")):
            members = turns(cohort, m, "member", epoch)
            others = turns(cohort, m, "reference", epoch)
            for rows in order:
                inside, away = next(members), next(others)
                inside_guess = second(module(x[inside]).detach(), digits.y[inside])
                outside_guess = second(module(x[away]).detach(), digits.y[away])
                loss = -(logsigmoid(inside_guess).mean() + logsigmoid(-outside_guess).mean()) / 2
                adam.zero_grad()
                torch.autograd.backward(loss)
                adam.step()
                optimizer.zero_grad()
                statistics = {n: b.clone() for n, b in second.named_buffers()}
                y, logits = digits.y[rows], module(x[rows])
                gain = logsigmoid(second(logits, y)).mean()
                torch.autograd.backward(cross_entropy(logits, y) + 0.5 * gain)
                for name, buffer in second.named_buffers():  # the model's step leaves them alone
                    buffer.copy_(statistics[name])
                optimizer.step()
        found = cohort.states()[m]
        flat = nn.utils.parameters_to_vector(module.parameters())
        second_flat = nn.utils.parameters_to_vector(second.parameters())
        assert (found.flat - flat).abs().max() < 1e-12
        assert (found.companion - second_flat).abs().max() < 1e-12
        for name, buffer in second.named_buffers():
            assert (found.companion_buffers[name] - buffer).abs().max() < 1e-12


def test_a_defense_without_reference_examples_says_so(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"'min_max'.*split\.reference"):
        make_cohort(defense=MinMax(), reference=0).fit()


def test_unclipped_example_gradients_without_noise_are_the_plain_gradient(
    make_cohort: Make,
) -> None:
    private = weights_of(make_cohort(MEMBERS, defense=Private(), weight_decay=0.01))
    assert_close(private, weights_of(make_cohort(MEMBERS, weight_decay=0.01)))


def test_clipped_gradients_are_those_of_a_loop_over_examples(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    cohort = make_cohort(MEMBERS, defense=Private(bound=0.3), epochs=1)
    cohort.fit()
    for m in range(3):
        module, x = plain(cohort, m, perceptron(), digits)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        for rows in batches(cohort, m, "member")[0]:
            total = torch.zeros(cohort.network.size, dtype=torch.float64)
            for row in rows:
                loss = cross_entropy(module(x[row][None]), digits.y[row][None])
                gradients = torch.autograd.grad(loss, list(module.parameters()))
                own = torch.cat([g.flatten() for g in gradients])
                total += own * min(1.0, 0.3 / float(own.norm()))
            parts = (total / len(rows)).split_with_sizes(cohort.network.sizes)
            for parameter, part in zip(module.parameters(), parts, strict=True):
                parameter.grad = part.view_as(parameter)
            optimizer.step()
        flat = nn.utils.parameters_to_vector(module.parameters())
        assert (cohort.states()[m].flat - flat).abs().max() < 1e-12


def test_noise_comes_from_each_model_s_own_key(make_cohort: Make) -> None:
    def moved(noise: float) -> Tensor:
        cohort = make_cohort([16] * 3, defense=Private(noise=noise), epochs=1, lr=0.1, momentum=0)
        cohort.fit()
        return torch.stack([one.flat for one in cohort.states()])

    noise = (moved(2.0) - moved(0.0)) / (-0.1 * 2.0 / 16)  # one step: what was drawn
    assert torch.equal(moved(2.0), moved(2.0))
    assert (noise.mean(1).abs() < 5 / 1210**0.5).all()
    assert ((noise.std(1) - 1).abs() < 0.1).all()
    assert torch.corrcoef(noise).sub(torch.eye(3)).abs().max() < 0.15


def test_gradients_of_single_examples_are_refused_with_batchnorm(
    make_cohort: Make, convolutional: Callable[..., Model]
) -> None:
    cohort = make_cohort(model=convolutional(), defense=Private())
    with pytest.raises(PluginError, match=r"'private'.*BatchNorm \(1\)"):
        cohort.fit()


def test_an_attacker_sees_only_what_the_defense_responds(make_cohort: Make) -> None:
    audited = torch.ones(2, 300, dtype=torch.bool)
    open_cohort, defended = make_cohort(), make_cohort(defense=Rounded())
    for cohort in (open_cohort, defended):
        cohort.fit()
    seen = answers(defended, audited, queries=2, noise=2)
    real = answers(open_cohort, audited, queries=2, noise=2)
    assert torch.equal(seen.logits, real.logits.round())
    assert seen.noisy is not None
    assert real.noisy is not None
    assert torch.equal(seen.noisy, real.noisy.round())
    assert not torch.equal(seen.logits, real.logits)
    assert torch.equal(real.logits[:, 0], open_cohort.logits())


def test_what_is_asked_is_what_is_answered(make_cohort: Make, digits: Examples) -> None:
    cohort = make_cohort()
    cohort.fit()
    audited = torch.arange(300).expand(2, 300) < torch.tensor([[100], [200]])
    seen = answers(cohort, audited, queries=3, noise=4, gradient_norm=True, noise_scale=0.05)
    assert seen.logits.shape == (2, 3, 300, 10)
    assert seen.noisy is not None
    assert torch.equal(~seen.noisy.isnan().any(-1).any(1), audited)
    assert bool((seen.logits[:, 0] != seen.logits[:, 1]).any())
    # All models are asked about the same noisy copies: one that is linear gives the noise away.
    moved = seen.noisy[:, :, :100] - seen.logits[:, :1, :100]
    assert float(moved.abs().max()) < 5
    assert float(moved.std()) > 0.005
    assert seen.gradient_norm is not None
    for m in range(2):
        held = {n: w[m].clone().requires_grad_() for n, w in cohort.weights.items()}
        for row in (0, 7, 250):
            x = (digits.x[row].double().flatten() - 8) / 8
            hidden = (held["1.weight"] @ x + held["1.bias"]).clamp(min=0)
            logits = held["4.weight"] @ hidden + held["4.bias"]
            loss = cross_entropy(logits[None], digits.y[row][None])
            gradients = torch.autograd.grad(loss, list(held.values()))
            norm = torch.cat([g.flatten() for g in gradients]).norm()
            assert abs(float(seen.gradient_norm[m, row]) - float(norm)) < 1e-9


def test_a_defense_given_to_fit_is_in_force_for_that_fit(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS)
    given = weights_of(cohort, defense=Smoothed())
    assert_close(given, weights_of(make_cohort(MEMBERS, defense=Smoothed())))
    with pytest.raises(PluginError, match="second network"):
        cohort.fit(defense=MinMax())


def test_a_penalty_may_rest_in_fine_tuning(make_cohort: Make) -> None:
    class Resting(Ridge):
        during: ClassVar[str] = "train"

    free, resting = (make_cohort(sparsifier=s) for s in (Ridge(strength=0), Resting(strength=1)))
    free.fit(tune=True)
    resting.fit(tune=True)
    assert_close(free.weights, resting.weights)
    resting.fit()
    free.fit()
    assert not torch.equal(free.weights["1.weight"], resting.weights["1.weight"])
