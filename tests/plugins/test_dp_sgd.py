"""DP-SGD: clipped sums, and noise of the size that is promised for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import (
    Examples,
    Model,
    PluginError,
)
from privaudit.cohort import Cohort
from privaudit.keys import derive
from privaudit.testing import check_plugin
from privaudit.train.dataset import poisson_order
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.models.cnn import CNN

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]


def test_dp_sgd_keeps_the_contract() -> None:
    check_plugin(DPSGD)


def test_a_long_gradient_is_shortened_and_a_short_one_left_alone() -> None:
    defense = DPSGD(clip=5)
    long, short = torch.tensor([6.0, 0, -8]), torch.tensor([3.0, 0, -4])
    assert torch.equal(defense.example_gradient(long), torch.tensor([3.0, 0, -4]))
    assert torch.equal(defense.example_gradient(short), short)
    assert torch.equal(defense.example_gradient(0.5 * short), 0.5 * short)
    assert torch.equal(defense.example_gradient(torch.zeros(3)), torch.zeros(3))


def test_the_noise_is_normal_with_the_deviation_that_is_asked() -> None:
    total, count = torch.linspace(-5, 5, 20_000), torch.tensor(8.0)

    def drawn(key: int) -> Tensor:
        step = DPSGD(noise_multiplier=1.5, clip=0.4).batch_gradient(total, count, torch.tensor(key))
        return (step * 8 - total) / (1.5 * 0.4)

    first, second = drawn(11), drawn(12)
    for noise in (first, second):
        assert kstest(noise.numpy(), norm.cdf).pvalue > 1e-3
        assert abs(float(noise.double().var()) - 1) < 5 * (2 / 20_000) ** 0.5
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 5 / 20_000**0.5
    assert torch.equal(first, drawn(11))


def test_without_noise_a_step_is_the_sum_over_the_size_that_batches_have_on_average() -> None:
    total = torch.tensor([1.0, -3.0])
    step = DPSGD(noise_multiplier=0).batch_gradient(total, torch.tensor(12.5), torch.tensor(1))
    assert torch.equal(step, total / 12.5)


def test_a_cohort_without_noise_follows_a_loop_over_examples(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    cohort = make_cohort(MEMBERS, defense=DPSGD(noise_multiplier=0, clip=0.3), epochs=1)
    cohort.fit()
    for m, members in enumerate(MEMBERS):
        module = perceptron().build(digits.shape, 10).double()
        x = (digits.x.double() - 8) / 8
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(cohort.initial_weights[name][m])
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        seed = derive(derive(cohort.seeds[m], "fit", 0), "poisson")
        rows, real = poisson_order(cohort._rows[m].member, seed, 0, 16)
        for batch, there in zip(rows, real, strict=True):
            total = [torch.zeros_like(p) for p in module.parameters()]
            for row in batch[there]:
                loss = cross_entropy(module(x[row][None]), digits.y[row][None])
                gradients = torch.autograd.grad(loss, list(module.parameters()))
                length = float(sum(g.pow(2).sum() for g in gradients)) ** 0.5
                for all_of_them, gradient in zip(total, gradients, strict=True):
                    all_of_them += gradient * min(1.0, 0.3 / length)
            for parameter, summed in zip(module.parameters(), total, strict=True):
                parameter.grad = summed / (members / len(rows))
            optimizer.step()
        flat = nn.utils.parameters_to_vector(module.parameters())
        assert (cohort.states()[m].flat - flat).abs().max() < 1e-12


def test_the_noise_of_a_step_is_each_model_s_own(make_cohort: Make) -> None:
    def moved(noise: float) -> Tensor:
        defense = DPSGD(noise_multiplier=noise, clip=0.5)
        cohort = make_cohort([16] * 3, defense=defense, epochs=1, momentum=0)
        cohort.fit()
        return torch.stack([one.flat for one in cohort.states()])

    noise = (moved(2) - moved(0)) / (0.1 * 2 * 0.5 / 16)  # a step of lr 0.1 with all 16 members
    assert ((noise.var(1) - 1).abs() < 5 * (2 / noise.shape[1]) ** 0.5).all()
    assert torch.corrcoef(noise).sub(torch.eye(3)).abs().max() < 5 / noise.shape[1] ** 0.5


def test_noisy_training_alone_and_together_is_the_same(make_cohort: Make) -> None:
    together = make_cohort(MEMBERS, defense=DPSGD())
    together.fit()
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], defense=DPSGD())
        alone.fit()
        assert (together.states()[m].flat - alone.states()[0].flat).abs().max() < 1e-12


def test_batchnorm_is_refused_and_the_way_out_works(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"'dp_sgd'.*BatchNorm \(norm1, norm2\).*`norm: group`"):
        make_cohort(model=CNN(width=4, norm="batch"), defense=DPSGD()).fit()
    cohort = make_cohort([16, 16], model=CNN(width=4, norm="group"), defense=DPSGD(), epochs=1)
    cohort.fit()
    assert not torch.equal(cohort.weights["norm1.weight"], cohort.initial_weights["norm1.weight"])
