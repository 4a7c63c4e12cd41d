"""Empirical privacy: lower bounds on ε that an audit proves, with a stated confidence.

A mechanism is (ε, δ)-private when no event is likelier than e^ε times its chance plus δ once one
example is added or taken out. Telling members from non-members better than that disproves it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, betainc, betaincinv, expit

from privaudit.errors import PrivauditError
from privaudit.statistics.curve import Roc, as_membership, as_scores, roc_curve
from privaudit.statistics.intervals import check_confidence

_STEP = 1.5  # from one threshold's rank to the next
_CELL = 0.93  # chance of a beta law's cell over that of the one before: p-values err by below 8 %
_SHARES = (1 / 2, 1 / 8, 1 / 32)  # of the examples, guessed in one-run auditing
_FEWEST = 8  # guesses: fewer cannot all be right by more than luck once corrected


def epsilon_lower_bound(
    scores: ArrayLike, members: ArrayLike, *, confidence: float = 0.95, delta: float = 1e-5
) -> float:
    """The ε that an attack disproves: with this confidence the true one is not below it.

    At every threshold (ε, δ)-privacy allows TPR <= e^ε FPR + δ and, for calls of "non-member",
    1 - FPR <= e^ε (1 - TPR) + δ (Kairouz, Oh & Viswanath 2015, "The composition theorem for
    differential privacy"); both are tested, as in Nasr et al. 2021, "Adversary instantiation:
    lower bounds for differentially private machine learning".

    The best threshold in hindsight finds a loss of privacy in pure noise. So the thresholds are
    set beforehand, at the highest non-members (for the other direction: lowest members) of the
    ranks 1, 1.5, 1.5², ... up to the median, rounded, and with T of them in both directions each
    is tested at the level (1 - confidence) / T (Bonferroni). Above the k-th of n non-members the
    FPR follows the law Beta(k, n - k + 1), or lies below it where scores tie; given the FPR, the
    number of members found follows a binomial law. So the p-value is the binomial tail that
    Clopper & Pearson 1934 invert (used for ε by Jagielski, Ullman & Oprea 2020, "Auditing
    differentially private machine learning"), averaged over that law, which wastes less than a
    limit for each of the two rates.

    On the Gaussian mechanism with a shift of 1 (ε = 4.38 at δ = 1e-5) and 1,000 examples a side
    the mean bound is 1.64. Others that hold give less: 1.32 with Clopper-Pearson limits of both
    rates at the same thresholds, 1.10 with the threshold chosen on one half of the examples and
    tested on the other, 0.98 with Dvoretzky-Kiefer-Wolfowitz bands around the whole curve. The
    best threshold in hindsight, uncorrected, gives 1.74, and is above 0 on 17 % of noise sets of
    5,000 a side. (Ranks a factor of 4 apart give 1.68, but next to nothing for an attack that
    only says yes or no, where all thresholds but one are the same.)

    Members and non-members count as independent draws, as those of one example over many
    trainings are. Those of one training nearly are; `one_run_epsilon` does not need them to be.

    Args:
        scores: (N,), higher = likelier a member.
        members: (N,) bool.
        confidence: of the bound, one-sided.
        delta: δ of the privacy that is tested.

    Returns:
        At least 0, which says that nothing is disproved.

    >>> round(epsilon_lower_bound(range(200), [row >= 100 for row in range(200)]), 2)  # no overlap
    2.85
    >>> epsilon_lower_bound([2, 1, 2, 1], [True, True, False, False])
    0.0

    Raises:
        PrivauditError: a score is NaN, shapes differ, one side is empty, or `confidence` or
            `delta` is out of range.
    """
    _check(confidence, delta)
    tests = _tests(roc_curve(scores, members))
    level = (1 - confidence) / len(tests)
    tail = _CELL ** np.arange(ceil(log(level * 1e-3, _CELL)) + 1)
    chance = -np.diff(tail, append=0.0)
    best = 0.0
    for rank, rivals, beyond, trials in tests:
        if beyond * rivals <= rank * trials * exp(best):
            continue  # not even the plain ratio of the two rates is above the bound so far
        # Each cell counts with its highest rate, so that the sum errs upwards alone.
        rate = np.append(betaincinv(rank, rivals - rank + 1, 1 - tail[1:]), 1.0)
        p_value = partial(_p_value, rate, chance, beyond, trials, delta)
        best = _largest_rejected(p_value, level, best)
    return best


def one_run_epsilon(
    scores: ArrayLike,
    members: ArrayLike,
    *,
    confidence: float = 0.95,
    delta: float = 1e-5,
    guesses: int | tuple[int, int] | None = None,
) -> float:
    """The ε that one training disproves, if a fair coin decided on each example's membership.

    Steinke, Nasr & Jagielski 2023, "Privacy auditing with one (1) training run", section 5 and
    appendix D: of m examples the attacker calls the k+ highest members and the k- lowest
    non-members and leaves out the rest. With r guesses, W ~ Binomial(r, 1 / (1 + e^-ε)), the
    chance of v or more right under (ε, δ)-privacy is at most
    P[W >= v] + 2 m δ max_i (P[W >= v - i] - P[W >= v]) / i, i from 1 to v.

    It needs no independence between examples' scores, as all of them meet in one network, but
    coins that were tossed for each example by itself: a split of fixed size, or members from
    another source than non-members, breaks the proof. Guesses must be fixed before the membership
    is seen: choosing the best of several in hindsight does not hold. By default 1/2, 1/8 and 1/32
    of the examples (not below 8) are guessed, each tested at its part of 1 - confidence
    (Bonferroni); on the Gaussian mechanism with shifts from 0.5 to 4 and 200 to 5,000 examples
    that comes within 12 % of the best number in hindsight. Ties are broken by a fixed shuffle,
    so that the order of the rows tells nothing.

    Args:
        scores: (m,), higher = likelier a member; all examples whose coin was tossed.
        members: (m,) bool.
        confidence: of the bound, one-sided.
        delta: δ of the privacy that is tested.
        guesses: how many, one half of them for either side, or the pair (k+, k-).

    Returns:
        At least 0, which says that nothing is disproved.

    >>> scores, members = range(200), [row >= 100 for row in range(200)]
    >>> round(one_run_epsilon(scores, members, guesses=(50, 50), delta=0), 3)  # 100 of 100 right
    3.493
    >>> one_run_epsilon([0] * 200, members)
    0.0

    Raises:
        PrivauditError: a score is NaN, shapes differ, one side is empty, there are fewer
            examples than guesses, or `confidence` or `delta` is out of range.
    """
    _check(confidence, delta)
    examples, counts = one_run_guesses(scores, members, guesses)
    best = 0.0
    for guessed, right in counts:
        p_value = partial(_one_run_p_value, guessed, right, examples, delta)
        best = _largest_rejected(p_value, (1 - confidence) / len(counts), best)
    return best


def one_run_guesses(
    scores: ArrayLike, members: ArrayLike, guesses: int | tuple[int, int] | None
) -> tuple[int, list[tuple[int, int]]]:
    """How many examples there are, and for each test how many are guessed and how many rightly.

    Arguments are those of `one_run_epsilon`.
    """
    values = as_scores(scores)
    inside = as_membership(members, len(values))
    examples = len(values)
    shuffle = np.random.default_rng(0).permutation(examples)
    hits = inside[shuffle][np.argsort(values[shuffle], kind="stable")]  # (m,), lowest score first
    return examples, [
        (high + low, int(hits[examples - high :].sum()) + low - int(hits[:low].sum()))
        for high, low in _pairs(guesses, examples)
    ]


def _check(confidence: float, delta: float) -> None:
    check_confidence(confidence)
    if not 0 <= delta < 1:
        raise PrivauditError(f"delta must be from 0 to below 1, such as 1e-5, got {delta}")


def _tests(curve: Roc) -> list[tuple[int, int, int, int]]:
    """Rank k of n rivals, and how many of m lie strictly beyond it: (k, n, beyond, m) of each."""
    members, others = curve.members, curve.non_members
    hits, alarms = curve.true_positives, curve.false_positives
    upwards = [(rank, others, hits, alarms, members) for rank in _ranks(others)]
    spared, missed = others - alarms[::-1], members - hits[::-1]
    downwards = [(rank, members, spared, missed, others) for rank in _ranks(members)]
    return [
        (rank, rivals, int(beyond[np.searchsorted(passed, rank) - 1]), trials)
        for rank, rivals, beyond, passed, trials in upwards + downwards
    ]


def _ranks(count: int) -> list[int]:
    steps = np.arange(1 + max(0, int(log(count / 2, _STEP))))
    return [int(rank) for rank in np.unique(np.rint(_STEP**steps))]


def _p_value(
    rate: NDArray[np.float64],
    chance: NDArray[np.float64],
    beyond: int,
    trials: int,
    delta: float,
    epsilon: float,
) -> float:
    """The chance to find so many, when each is found at most as often as privacy allows."""
    allowed = np.minimum(np.exp(epsilon) * rate + delta, 1.0)
    return float(chance @ betainc(beyond, trials - beyond + 1, allowed))


def _pairs(guesses: int | tuple[int, int] | None, examples: int) -> list[tuple[int, int]]:
    if guesses is None:
        counts = [round(share * examples) for share in _SHARES]
        enough = [count for count in counts if count >= _FEWEST] or [min(examples, _FEWEST)]
        return [(count - count // 2, count // 2) for count in enough]
    pair = (guesses - guesses // 2, guesses // 2) if isinstance(guesses, int) else guesses
    if min(pair) < 0 or not 1 <= sum(pair) <= examples:
        raise PrivauditError(
            f"guesses must be from 1 to the {examples} examples, and none negative, got {guesses}"
        )
    return [pair]


def _one_run_p_value(
    guesses: int, right: int, examples: int, delta: float, epsilon: float
) -> float:
    least = np.arange(right, -1, -1)  # v - i for i from 0 to v
    tail = np.asarray(bdtrc(least - 1, guesses, expit(epsilon)))
    slope = ((tail[1:] - tail[0]) / np.arange(1, right + 1)).max(initial=0.0)
    return float(tail[0] + 2 * examples * delta * slope)


def _largest_rejected(p_value: Callable[[float], float], level: float, least: float) -> float:
    """The largest ε, from `least` on, whose p-value is within the level, by bisection."""
    if p_value(least) > level:
        return least
    low, high = least, least + 1
    while p_value(high) <= level:
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) <= level else (low, middle)
    return low
