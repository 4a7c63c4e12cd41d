"""DP-SGD: clipped sums, noise of the size that is promised for, and the promise itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import comb, exp, log

import pytest
import torch
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.special import logsumexp
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


@pytest.mark.parametrize("kind", [RDPAccountant, PRVAccountant])
@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.1, 0.02, 150), (0.8, 0.25, 40)])
def test_epsilon_is_what_opacus_counts_step_by_step(
    kind: type[RDPAccountant | PRVAccountant], noise: float, rate: float, steps: int
) -> None:
    counted = kind()
    for _ in range(steps):
        counted.step(noise_multiplier=noise, sample_rate=rate)
    defense = DPSGD.model_validate(
        {"noise_multiplier": noise, "accountant": kind.mechanism(), "delta": 1e-6}
    )
    assert defense.epsilon(rate, steps) == pytest.approx(counted.get_epsilon(delta=1e-6), rel=1e-9)


def renyi(order: int, noise: float, rate: float) -> float:
    """Mironov, Talwar & Zhang 2019, section 3.3: of one step, at a whole order."""
    terms = [
        log(comb(order, k))
        + (order - k) * log(1 - rate)
        + k * log(rate)
        + (k * k - k) / (2 * noise**2)
        for k in range(order + 1)
    ]
    return float(logsumexp(terms)) / (order - 1)


def test_epsilon_of_the_paper_s_example_is_found_again_and_bettered() -> None:
    """Abadi et al. 2016, section 3.2: q = 0.01, σ = 4, 10,000 steps, δ = 1e-5: ε = 1.26."""
    orders = range(2, 64)
    spent = {a: 10_000 * renyi(a, 4.0, 0.01) for a in orders}
    moments = min(spent[a] + log(1e5) / (a - 1) for a in orders)
    assert moments == pytest.approx(1.26, abs=0.005)
    # Balle et al. 2020, theorem 21, tightens the step from Rényi's divergence to ε.
    better = min(
        moments, *(spent[a] + (log(1e5) - log(a)) / (a - 1) + log(1 - 1 / a) for a in orders)
    )
    assert DPSGD(noise_multiplier=4).epsilon(0.01, 10_000) == pytest.approx(better, rel=1e-6)


def test_epsilon_of_full_batches_is_the_gaussian_mechanism_s() -> None:
    def delta(epsilon: float) -> float:
        """Balle & Wang 2018, theorem 8, at a shift of one deviation."""
        return float(norm.cdf(0.5 - epsilon) - exp(epsilon) * norm.cdf(-0.5 - epsilon))

    exact = brentq(lambda e: delta(e) - 1e-5, 0, 20)
    four_steps = DPSGD(noise_multiplier=2, accountant="prv").epsilon(1.0, 4)  # as one of σ = 1
    assert four_steps is not None
    assert exact <= four_steps < exact + 0.02


def test_an_epsilon_that_promises_nothing_needs_no_memory() -> None:
    tight, plain = (
        DPSGD.model_validate({"noise_multiplier": 0.2, "accountant": accountant})
        for accountant in ("prv", "rdp")
    )
    assert tight.epsilon(0.5, 1000) == plain.epsilon(0.5, 1000)


def test_without_noise_or_steps_nothing_is_promised() -> None:
    assert DPSGD(noise_multiplier=0).epsilon(0.1, 100) is None
    assert DPSGD().epsilon(0.1, 0) is None


def test_without_opacus_it_trains_and_says_how_to_get_epsilon(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    defense = DPSGD(noise_multiplier=1.2345)
    make_cohort([16, 16], defense=defense, epochs=1).fit()
    assert defense.epsilon(0.125, 8) is None
    assert "pip install 'privaudit[dp]'" in caplog.text
