"""Lower bounds on ε, against mechanisms whose ε is known and formulas written out by hand."""

from collections.abc import Callable
from math import exp, expm1, log

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm

from privaudit import metrics
from privaudit.errors import PrivauditError

Audit = tuple[np.ndarray, np.ndarray]


def gaussian_epsilon(shift: float, delta: float) -> float:
    """Balle & Wang 2018, "Improving the Gaussian mechanism", theorem 8, with Δ / σ = shift."""
    return float(
        brentq(
            lambda e: (
                norm.cdf(shift / 2 - e / shift) - exp(e) * norm.cdf(-shift / 2 - e / shift) - delta
            ),
            0,
            60,
        )
    )


def fixed(generator: np.random.Generator, size: int, shift: float = 0.0) -> Audit:
    members = np.arange(2 * size) < size
    return generator.normal(size=2 * size) + shift * members, members


def tossed(generator: np.random.Generator, size: int, shift: float = 0.0) -> Audit:
    members = generator.random(size) < 0.5
    return generator.normal(size=size) + shift * members, members


def test_gaussian_epsilon_is_the_published_one() -> None:
    # δ(ε) of shift 1 at ε = 1 is Φ(-1/2) - e Φ(-3/2) = 0.126937.
    assert gaussian_epsilon(1, 0.126937) == pytest.approx(1, abs=1e-4)


def test_at_most_one_in_twenty_of_a_thousand_noise_sets_is_above_zero() -> None:
    generator = np.random.default_rng(0)
    above = sum(metrics.epsilon_lower_bound(*fixed(generator, 60)) > 0 for _ in range(1000))
    assert above <= 50
    above = sum(metrics.one_run_epsilon(*tossed(generator, 120)) > 0 for _ in range(1000))
    assert above <= 50


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_bounds_stay_below_the_epsilon_of_the_gaussian_mechanism(shift: float) -> None:
    generator, truth = np.random.default_rng(1), gaussian_epsilon(shift, 1e-5)
    found = [metrics.epsilon_lower_bound(*fixed(generator, 300, shift)) for _ in range(40)]
    once = [metrics.one_run_epsilon(*tossed(generator, 600, shift)) for _ in range(40)]
    for bounds in (found, once):
        assert sum(bound > truth for bound in bounds) <= binom.ppf(1 - 1e-3, 40, 0.05)
        # Not hopelessly below it either: more than a fifth of ε from a few hundred examples.
        assert np.mean(bounds) > truth / 5


def test_bound_is_within_its_error_and_close_where_privacy_is_used_up() -> None:
    # Laplace noise of scale 1 / ε uses ε up at every threshold of the upper half: TPR = e^ε FPR.
    generator, audits, truth = np.random.default_rng(2), 100, 1.0
    members = np.arange(1000) < 500
    bounds = [
        metrics.epsilon_lower_bound(generator.laplace(size=1000) / truth + members, members)
        for _ in range(audits)
    ]
    assert sum(bound > truth for bound in bounds) <= binom.ppf(1 - 1e-3, audits, 0.05)
    assert np.mean(bounds) > 0.6 * truth


def test_one_run_is_within_its_error_and_close_on_randomised_response() -> None:
    generator, audits, truth = np.random.default_rng(3), 400, 1.0
    bounds = []
    for _ in range(audits):
        members = generator.random(400) < 0.5
        told = np.where(generator.random(400) < 1 / (1 + exp(-truth)), members, ~members)
        bounds.append(metrics.one_run_epsilon(told, members, delta=0, guesses=400))
    assert sum(bound > truth for bound in bounds) <= binom.ppf(1 - 1e-3, audits, 0.05)
    assert np.mean(bounds) > 0.6 * truth


def test_yes_or_no_scores_are_bounded_too() -> None:
    # The verdict tells 3 of 4 members and 1 of 4 non-members "member": ln 3 with full knowledge.
    members = np.arange(4000) < 2000
    verdict = np.arange(4000) % 4 < np.where(members, 3, 1)
    assert 0.7 < metrics.epsilon_lower_bound(verdict, members) < log(3)


def test_both_directions_count() -> None:
    # Only non-members can be told for sure: TPR / FPR is at most 2, (1 - FPR) / (1 - TPR) endless.
    members = np.arange(2000) < 1000
    scores = np.where(members | (np.arange(2000) % 2 == 0), 1.0, 0.0) + np.arange(2000) % 97 / 1e3
    assert metrics.epsilon_lower_bound(scores, members) > log(50)
    assert metrics.epsilon_lower_bound(-scores, ~members) > log(50)
    assert metrics.epsilon_lower_bound(-scores, members) == 0


def test_p_value_of_a_single_threshold_equals_the_integral() -> None:
    # Two non-members and two members a side have the rank 1 alone: two tests, one a direction.
    scores, members = [4.0, 3.0, 2.0, 1.0], [True, True, False, False]
    bound = metrics.epsilon_lower_bound(scores, members, confidence=0.2, delta=0.05)

    def p_value(epsilon: float) -> float:
        both = quad(
            lambda b: beta.pdf(b, 1, 2) * min(1, exp(epsilon) * b + 0.05) ** 2,
            0,
            1,
            points=[0.95 * exp(-epsilon)],
        )
        return float(both[0])

    # The sum over cells may only err upwards, by up to 8 %: the bound is then a little lower.
    assert 0.8 / 2 / 1.08 <= p_value(bound) <= 0.8 / 2


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_one_run_bound_is_where_the_p_value_of_the_paper_meets_its_level(delta: float) -> None:
    # 300 examples: of the 40 highest 37 are members, of the 60 lowest 52 are not.
    members = np.arange(300) % 2 == 0
    members[:60] = np.arange(60) >= 52
    members[-40:] = np.arange(40) < 37
    bound = metrics.one_run_epsilon(
        np.arange(300), members, confidence=0.9, delta=delta, guesses=(40, 60)
    )

    def p_value(epsilon: float) -> float:
        """Appendix D of the paper, as a loop."""
        right, law = 37 + 52, binom(100, 1 / (1 + exp(-epsilon)))
        within, steepest = 0.0, 0.0
        for i in range(1, right + 1):
            within += law.pmf(right - i)
            steepest = max(steepest, within / i)
        return float(law.sf(right - 1) + 2 * 300 * delta * steepest)

    assert p_value(bound) == pytest.approx(0.1, rel=1e-4)
    assert p_value(bound + 0.01) > 0.1


def test_a_larger_delta_or_confidence_proves_less() -> None:
    scores, members = fixed(np.random.default_rng(4), 500, 2.0)
    for bound in (metrics.epsilon_lower_bound, metrics.one_run_epsilon):
        plain = bound(scores, members)
        assert 0 < bound(scores, members, delta=1e-4) < plain < bound(scores, members, delta=0)
        assert 0 < bound(scores, members, confidence=0.999) < plain


def test_all_right_gives_the_closed_form() -> None:
    # r of r right: q^r = α, q = 1 / (1 + e^-ε), so ε = -ln(α^(-1/r) - 1).
    scores = np.arange(100)
    bound = metrics.one_run_epsilon(scores, scores >= 50, delta=0, guesses=100)
    assert bound == pytest.approx(-log(expm1(-log(0.05) / 100)), abs=1e-5)


def test_constant_scores_prove_nothing() -> None:
    members = np.arange(400) % 2 == 0
    assert metrics.epsilon_lower_bound(np.zeros(400), members) == 0
    assert metrics.one_run_epsilon(np.zeros(400), members) == 0


@pytest.mark.parametrize("bound", [metrics.epsilon_lower_bound, metrics.one_run_epsilon])
def test_the_smallest_audits_prove_nothing(
    bound: Callable[[list[float], list[bool]], float],
) -> None:
    assert bound([1, 0], [True, False]) == 0
    assert bound([2, 1, 0], [True, False, False]) == 0


def test_bad_input_is_one_clear_line() -> None:
    scores, members = [1.0, 0.0, 0.5], [True, False, False]
    for bound in (metrics.epsilon_lower_bound, metrics.one_run_epsilon):
        with pytest.raises(PrivauditError, match="delta must be from 0 to below 1"):
            bound(scores, members, delta=1.0)
        with pytest.raises(PrivauditError, match="confidence must be between 0 and 1"):
            bound(scores, members, confidence=95)
        with pytest.raises(PrivauditError, match="score 0 is NaN"):
            bound([np.nan, 0, 1], members)
        with pytest.raises(PrivauditError, match="all 3 examples are members"):
            bound(scores, [True, True, True])
    for guesses in (0, 4, (-1, 2), (2, 2)):
        with pytest.raises(PrivauditError, match="guesses must be from 1 to the 3 examples"):
            metrics.one_run_epsilon(scores, members, guesses=guesses)


def accounting_holds(bounds: list[float], truth: float) -> bool:
    """At most as many bounds above the truth as one in twenty allows, but once in a thousand."""
    above = sum(bound > truth for bound in bounds)
    return bool(above <= binom.ppf(1 - 1e-3, len(bounds), 0.05))


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_a_gaussian_bound_holds_and_is_the_larger_one(shift: float) -> None:
    generator, truth = np.random.default_rng(5), gaussian_epsilon(shift, 1e-5)
    audits = [tossed(generator, 500, shift) for _ in range(60)]
    bounds = [metrics.gaussian_one_run_epsilon(*audit) for audit in audits]
    plain = [metrics.one_run_epsilon(*audit) for audit in audits]
    assert accounting_holds(bounds, truth)
    assert np.mean(plain) * 1.2 < np.mean(bounds) < truth


def test_a_gaussian_bound_holds_where_its_privacy_is_used_up() -> None:
    # The most that a shift of μ allows a single guess is to be right with the chance Φ(μ / 2).
    generator, shift, bounds = np.random.default_rng(6), 1.0, []
    for _ in range(300):
        members = generator.random(300) < 0.5
        told = np.where(generator.random(300) < norm.cdf(shift / 2), members, ~members)
        bounds.append(metrics.gaussian_one_run_epsilon(told, members, guesses=300))
    assert accounting_holds(bounds, gaussian_epsilon(shift, 1e-5))
    assert np.mean(bounds) > 0.2 * gaussian_epsilon(shift, 1e-5)


def test_a_gaussian_bound_finds_nothing_in_noise() -> None:
    generator = np.random.default_rng(7)
    noise = [metrics.gaussian_one_run_epsilon(*tossed(generator, 600)) for _ in range(800)]
    assert accounting_holds(noise, 0.0)
    assert metrics.gaussian_one_run_epsilon(np.zeros(400), np.arange(400) % 2 == 0) == 0
    with pytest.raises(PrivauditError, match="delta must be between 0 and 1"):
        metrics.gaussian_one_run_epsilon([1.0, 0.0], [True, False], delta=0.0)


def test_a_gaussian_bound_is_where_the_recursion_of_the_paper_ends() -> None:
    # 300 examples: of the 40 highest 37 are members, of the 60 lowest 52 are not.
    members = np.arange(300) % 2 == 0
    members[:60] = np.arange(60) >= 52
    members[-40:] = np.arange(40) < 37
    bound = metrics.gaussian_one_run_epsilon(
        np.arange(300), members, confidence=0.9, delta=1e-3, guesses=(40, 60)
    )

    def excess(shift: float) -> float:
        """Algorithm 3 of the paper, with the lists it fills, and 100 of 300 examples guessed."""
        right, guessed = 37 + 52, 100
        h, r = [0.0] * (right + 1), [0.0] * (right + 1)
        h[right], r[right] = 0.1 * (guessed - right) / 300, 0.1 * right / 300
        for i in reversed(range(right)):
            h[i] = max(h[i + 1], float(norm.cdf(norm.ppf(r[i + 1]) - shift)))
            r[i] = r[i + 1] + i / (guessed - i) * (h[i] - h[i + 1])
        return r[0] + h[0] - guessed / 300

    assert bound == pytest.approx(gaussian_epsilon(brentq(excess, 0.01, 10), 1e-3), abs=1e-4)
