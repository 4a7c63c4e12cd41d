"""What differentially private training promises, with its terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privaudit.statistics.lower_bounds import usual_delta as usual_delta


@dataclass(frozen=True)
class Promise:
    """(ε, δ)-differential privacy of the members, and what is not in it.

    Attributes:
        epsilon: ε.
        delta: δ; None where the defense does not tell it.
        relation: how two training sets differ that must look alike: "adding or removing one
            example", ...
        accountant: how ε was summed up over the steps: "pld", "rdp", ...
        outside: what was learned from examples without being paid for, each a few words.
        trainings: how many trainings of one network it is the sum of.
    """

    epsilon: float
    delta: float | None = None
    relation: str = ""
    accountant: str = ""
    outside: tuple[str, ...] = ()
    trainings: int = 1


def terms(promises: Sequence[Promise]) -> str:
    """The terms of promises that differ in ε and in their number of trainings alone.

    >>> terms([Promise(2.4, 1e-4, outside=("the seed",))])
    '(epsilon, delta = 0.0001)-differential privacy, ... so far; outside it: the seed'
    """
    first = promises[0]
    delta = "delta not told" if first.delta is None else f"delta = {first.delta:.2g}"
    relation = f" for {first.relation}" if first.relation else ""
    accountant = f", by {first.accountant.upper()} accounting" if first.accountant else ", summed"
    low, high = (pick(promise.trainings for promise in promises) for pick in (min, max))
    number = str(low) if low == high else f"{low} to {high}"
    outside = f"; outside it: {', '.join(first.outside)}" if first.outside else ""
    return (
        f"(epsilon, {delta})-differential privacy{relation}{accountant} over the {number} "
        f"training{'' if high == 1 else 's'} of a network so far{outside}"
    )
