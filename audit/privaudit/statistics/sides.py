"""How sure the AUC is where most scores of one side are alike: rare hits, 0/1 scores.

A variance estimated from few scores that differ says little, and from none nothing: with 20 members
of whom 5 % are ever hit, none is in 36 % of audits. Such a side is a binomial count in disguise.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from privaudit.statistics.intervals import clopper_pearson


class Side:
    """The placement values of members among non-members, or of non-members among members.

    DeLong et al. 1988: of each example, the share of the other side that it beats, or that beats
    it, ties counting one half. Both sides' values have the AUC as their mean.

    Attributes:
        placements: (V,) float64: the distinct ones, from 0 to 1.
        counts: (V,) int64: how many examples have each.
        alike: whether half of the side or more share one.
    """

    def __init__(self, wins: NDArray[np.int64], counts: NDArray[np.int64], most: int) -> None:
        """Of counts (G,) by score with wins (G,) in order, `most` the wins that there could be."""
        wins, counts = wins[counts > 0], counts[counts > 0]
        starts = np.flatnonzero(np.diff(wins, prepend=-1))
        self.placements = wins[starts] / most
        self.counts = np.add.reduceat(counts, starts)
        self.alike = bool(2 * self.counts.max() >= self.counts.sum())

    def deviation(self, mean: float) -> float:
        """Standard error of the mean placement value."""
        total = int(self.counts.sum())
        squares = float((self.counts * (self.placements - mean) ** 2).sum())
        return sqrt(squares / (total * (total - 1)))

    def reach(self, mean: float, score: float, confidence: float) -> tuple[float, float]:
        """How far below and above the mean the truth may lie; `score`: the normal quantile."""
        if self.alike:
            return coin_reach(self.placements, self.counts, confidence)
        return score * self.deviation(mean), score * self.deviation(mean)


def coin_reach(
    placements: NDArray[np.float64], counts: NDArray[np.int64], confidence: float
) -> tuple[float, float]:
    """How far below and above their mean the mean placement value of a side may truly lie.

    Where all are alike, at most a share q of the side lies elsewhere (Clopper & Pearson 1934), and
    elsewhere is at the worst 0 or 1. Otherwise the placements are taken as values of a coin with
    their mean, variance and skewness: two values of which the rarer comes up with the chance that
    has that skewness, bounded as Clopper & Pearson do. For 0/1 scores that is what they are, so
    that the limits are exact.

    Args:
        placements: (G,) distinct placement values of the side, from 0 to 1.
        counts: (G,) how many of its examples have each.
        confidence: of the two-sided interval.
    """
    total = int(counts.sum())
    mean = float((placements * counts).sum()) / total
    if len(counts) == 1:
        elsewhere = clopper_pearson(0, total, confidence).high
        return elsewhere * mean, elsewhere * (1 - mean)
    apart = placements - mean
    deviation = sqrt(float((counts * apart**2).sum()) / total)
    skewness = float((counts * (apart / deviation) ** 3).sum()) / total
    # A coin that shows 1 with chance p has the skewness (1 - 2 p) / sqrt(p (1 - p)).
    chance = (1 - skewness / sqrt(4 + skewness**2)) / 2
    coin = clopper_pearson(chance * total, total, confidence)
    scale = deviation / sqrt(chance * (1 - chance))
    return scale * (coin.value - coin.low), scale * (coin.high - coin.value)
