"""Whether a network knows anything of the labels of examples, or guesses."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

CERTAIN = 2.33
"""Standard deviations: answers that know nothing of the labels lie so high once in 100 times."""
_LITTLE = 0.1
"""Cohen's kappa below which answers are hardly better: those of a network that is not trained, or
whose classes are in another order, agree with some labels more often than a lottery would."""


@dataclass(frozen=True)
class Agreement:
    """How many of n predictions agree with labels, and how many would by guessing.

    Attributes:
        count: n.
        correct: how many agree.
        expected: how many would, if the same predictions were dealt out to the examples by lot:
            Σ n_c m_c / n, of n_c labels and m_c predictions of class c.
        z: (correct - expected) over the standard deviation of that lottery; 0 where it has none.
        most: z of predictions that all agree.
    """

    count: int
    correct: int
    expected: float
    z: float
    most: float

    @property
    def accuracy(self) -> float:
        """The share that agree."""
        return self.correct / self.count

    @property
    def kappa(self) -> float:
        """Cohen's: the share that agree beyond what is expected, of what could; 1 if all do."""
        beyond = self.count - self.expected
        return (self.correct - self.expected) / beyond if beyond > 0 else 0.0

    @property
    def guessing(self) -> bool:
        """No better than guessing, or hardly, where so few examples can tell.

        Hardly better is a kappa below 0.1 and less than twice the expected agreement.
        """
        return self.most >= CERTAIN and (self._lottery or self._hardly)

    @property
    def _lottery(self) -> bool:
        return self.z < CERTAIN

    @property
    def _hardly(self) -> bool:
        return self.kappa < _LITTLE and self.correct < 2 * self.expected

    def words(self, what: str) -> str:
        """For messages, read after a verb as "classifies".

        >>> Agreement(120, 40, 38.5, 0.3, 15.4).words("members")
        '33.3 % (40 of 120) of members rightly, no better than guessing (32.1 %)'
        """
        better = "no" if self._lottery else "hardly"
        return (
            f"{100 * self.accuracy:.1f} % ({self.correct:,} of {self.count:,}) of {what} rightly, "
            f"{better} better than guessing ({100 * self.expected / self.count:.1f} %)"
        )


def agreement(labels: Tensor, predicted: Tensor, classes: int) -> Agreement:
    """Of predictions (n,) int64 with labels (n,) int64, in C classes.

    Unlike the share of the most frequent class, the expected agreement is not beaten by knowing
    that share, nor out of reach where nearly all examples are of one class. It is what Cohen's
    kappa subtracts (Cohen 1960, "A coefficient of agreement for nominal scales"); its variance is
    that of a linear permutation statistic (Hoeffding 1951, "A combinatorial central limit
    theorem", equation 10).
    """
    n = len(labels)
    correct = int((labels == predicted).sum())
    truths = torch.bincount(labels, minlength=classes).double() / max(n, 1)
    answers = torch.bincount(predicted, minlength=classes).double() / max(n, 1)
    z, expected = _standardised(correct, n, truths, answers)
    most, _ = _standardised(n, n, truths, truths)
    return Agreement(n, correct, expected, z, most)


def _standardised(correct: int, n: int, truths: Tensor, answers: Tensor) -> tuple[float, float]:
    both = truths * answers
    mean = float(both.sum())
    variance = mean - float((both * (truths + answers)).sum()) + mean**2
    deviation = sqrt(max(variance, 0.0) * n * n / max(n - 1, 1))
    expected = n * mean
    return (correct - expected) / deviation if deviation > 1e-9 else 0.0, expected
