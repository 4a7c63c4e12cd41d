"""The mean of a number over audits, with the interval that what they share leaves."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from privaudit.statistics.inference.audits import Audit, clusters, correlations
from privaudit.statistics.intervals import Estimate, bootstrap_mean


def mean_of_audits(
    audits: Sequence[Audit], *, shared: bool = False, confidence: float = 0.95
) -> Estimate:
    """The mean over audits, clustered by example and by seed.

    Two things make the mean uncertain. Its examples: the distances to the limits of the single
    audits, combined with the correlations of their errors (Zou 2007, "Toward using confidence
    intervals to compare correlations", which extends MOVER, Zou & Donner 2008, to numbers that
    depend on each other). The same audit many times over is as unsure as once; audits of other
    examples average out. And its seeds: the spread between their means, of split, initialisation
    and training, by `bootstrap_mean` or Student's t, whichever is wider.

    The spread between seeds contains the noise of the examples in which they differ, and lacks
    what they share. As in the two-way clusters of Cameron, Gelbach & Miller 2011, "Robust
    inference with multiway clustering", V = V_example + V_seed - V_example within seeds; the
    difference of the first and the last, which is the covariance between S seeds, is multiplied by
    S / (S - 1), with which V has no bias however few they are. The interval is never narrower than
    either part alone.

    With one seed its targets take the seeds' place. A single audit keeps its interval.

    Args:
        audits: at least one.
        shared: see `correlations`.
        confidence: of the audits' intervals, and of the mean's.
    """
    values = np.array([audit.estimate.value for audit in audits])
    mean = float(values.mean())
    names = clusters(audits)
    alike = correlations(audits, shared=shared)
    below, above = (
        np.array([audit.estimate.value - audit.estimate.low for audit in audits]),
        np.array([audit.estimate.high - audit.estimate.value for audit in audits]),
    )
    spread = _spread(values, names, confidence)
    down, up = (
        combined(distances / len(audits), alike, names, seeds)
        for distances, seeds in zip((below, above), spread, strict=True)
    )
    return Estimate(mean, mean - down, mean + up)


def combined(
    distances: NDArray[np.float64],
    alike: NDArray[np.float64],
    names: Sequence[int],
    seeds: float,
) -> float:
    """The distance of a weighted sum to one of its limits.

    Args:
        distances: (A,) of each audit, times its weight.
        alike: (A, A) correlations; with the sign of a pair's weights where those differ.
        names: (A,) the cluster of each.
        seeds: the distance by the spread between clusters; 0 where there is one.
    """
    squares = alike * distances[:, None] * distances
    labels = np.array(names)
    within = float(squares[labels[:, None] == labels].sum())
    examples = max(float(squares.sum()), 0.0)
    count = len(set(names))
    between = (examples - within) * count / (count - 1) if count > 1 else 0.0
    return max(sqrt(examples), hypot(seeds, sqrt(max(between, 0.0))))


def _spread(
    values: NDArray[np.float64], names: Sequence[int], confidence: float
) -> tuple[float, float]:
    """How far below and above its mean the spread between clusters lets the truth be."""
    if len(set(names)) < 2:
        return 0.0, 0.0
    labels = np.array(names)
    means = np.array([values[labels == name].mean() for name in dict.fromkeys(names)])
    estimate = bootstrap_mean(means.tolist(), confidence=confidence)
    error = float(means.std(ddof=1)) / sqrt(len(means))
    student = float(stdtrit(len(means) - 1, (1 + confidence) / 2)) * error
    return max(estimate.value - estimate.low, student), max(estimate.high - estimate.value, student)
