"""How sure a number is that several audits share: of one row, and of the change between two.

Audits share examples (the same people audited under several seeds), networks (one that is given,
audited with several attackers) and splits (the targets of a seed). Every example has an influence
on an audit's number; audits that it enters together are alike in it, however many there are.

An interval is of the number's mean over fresh examples of the same population and, from two seeds
on, over fresh splits and trainings by the same recipe. With a single seed, or a network that is
given, it is for the networks at hand.
"""

from privaudit.statistics.inference.audits import Audit
from privaudit.statistics.inference.difference import Difference, difference, holm
from privaudit.statistics.inference.influence import PerExample, mean_influence
from privaudit.statistics.inference.mean import mean_of_audits

__all__ = [
    "Audit",
    "Difference",
    "PerExample",
    "difference",
    "holm",
    "mean_influence",
    "mean_of_audits",
]
