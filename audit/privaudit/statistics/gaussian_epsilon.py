"""A larger lower bound on ε, under the hypothesis that noise hides examples as a Gaussian does."""

from __future__ import annotations

from math import exp, log

from numpy.typing import ArrayLike
from scipy.special import log_ndtr, ndtr, ndtri

from privaudit.errors import PrivauditError
from privaudit.statistics.epsilon import one_run_guesses
from privaudit.statistics.intervals import check_confidence

_CLOSE = 1e-6  # of μ and of ε, by bisection


def gaussian_one_run_epsilon(
    scores: ArrayLike,
    members: ArrayLike,
    *,
    confidence: float = 0.95,
    delta: float = 1e-5,
    guesses: int | tuple[int, int] | None = None,
) -> float:
    """The ε that one training disproves of a Gaussian mechanism, if fair coins decided.

    Mahloujifar, Melis & Chaudhuri 2024, "Auditing f-differential privacy in one run" (arXiv
    2410.22235), algorithm 3 with abstentions: `one_run_epsilon` tests (ε, δ) alone, one point of
    the whole curve of trade-offs that a mechanism allows, and so finds less than there is. Here
    the hypothesis is the curve of the Gaussian mechanism with a shift of μ deviations (Dong, Roth
    & Su 2022, "Gaussian differential privacy"); the largest μ that is rejected is told as its ε
    at `delta` (Balle & Wang 2018, theorem 8).

    The bound holds for mechanisms with that curve. The privacy of many noisy steps comes near to
    one, by a central limit theorem, and is none exactly: so it is asked for by name, and raises
    no alarm.

    With c of g guesses right among m examples and the level α, r = α c / m and h = α (g - c) / m;
    then for i from c - 1 down to 0, h' = max(h, Φ(Φ⁻¹(r) - μ)) and r grows by
    i / (g - i) · (h' - h). μ is rejected where r + h is above g / m at the end.

    Args:
        scores: (m,), higher = likelier a member; all examples whose coin was tossed.
        members: (m,) bool.
        confidence: of the bound, one-sided.
        delta: δ at which ε is told, above 0.
        guesses: as `one_run_epsilon` has them.

    Returns:
        At least 0, which says that nothing is disproved.

    >>> scores, members = range(200), [row >= 100 for row in range(200)]
    >>> round(gaussian_one_run_epsilon(scores, members), 2)  # where one_run_epsilon finds 3.27
    6.32
    >>> gaussian_one_run_epsilon([0] * 200, members)
    0.0

    Raises:
        PrivauditError: as `one_run_epsilon`, or `delta` is 0.
    """
    check_confidence(confidence)
    if not 0 < delta < 1:
        raise PrivauditError(f"delta must be between 0 and 1, such as 1e-5, got {delta}")
    examples, counts = one_run_guesses(scores, members, guesses)
    level = (1 - confidence) / len(counts)
    shift = max(_largest_shift(examples, *count, level) for count in counts)
    return _epsilon(shift, delta)


def _largest_shift(examples: int, guessed: int, right: int, level: float) -> float:
    """The largest μ that is rejected, by bisection; 0 where none is."""
    low, high = 0.0, 1.0
    if not _rejected(_CLOSE, examples, guessed, right, level):
        return 0.0
    while _rejected(high, examples, guessed, right, level):
        low, high = high, 2 * high
    while high - low > _CLOSE:
        middle = (low + high) / 2
        wrong = _rejected(middle, examples, guessed, right, level)
        low, high = (middle, high) if wrong else (low, middle)
    return low


def _rejected(shift: float, examples: int, guessed: int, right: int, level: float) -> bool:
    told = level * right / examples
    missed = level * (guessed - right) / examples
    for count in range(right - 1, -1, -1):
        allowed = max(missed, float(ndtr(ndtri(told) - shift)))
        if allowed == missed:
            break  # and so it stays
        told = min(told + count / (guessed - count) * (allowed - missed), 1.0)
        missed = allowed
    return told + missed > guessed / examples


def _epsilon(shift: float, delta: float) -> float:
    """The ε of the Gaussian mechanism at δ: Φ(μ/2 - ε/μ) - e^ε Φ(-μ/2 - ε/μ) = δ."""
    if shift == 0:
        return 0.0

    def exceeds(epsilon: float) -> bool:
        tail = log_ndtr(-shift / 2 - epsilon / shift)
        return bool(ndtr(shift / 2 - epsilon / shift) - exp(epsilon + tail) > delta)

    low, high = 0.0, shift * (shift / 2 + (2 * log(1 / delta)) ** 0.5)
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if exceeds(middle) else (low, middle)
    return low
