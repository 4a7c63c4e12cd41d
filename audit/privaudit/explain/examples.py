"""Which examples are given away, over all audits that they were part of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from privaudit.explain.scores import Audited, LevelScores

RATE = 0.01  # the false positive rate at which an example counts as found


@dataclass(frozen=True)
class ExampleExposure:
    """One example at one level.

    Found means called a member while at most 1 % of the audit's other non-members are, or none of
    them where there are fewer than a hundred.

    Attributes:
        example: its row in the dataset.
        label: the number of its class.
        name: the name of its class.
        member: in how many audits it was a member.
        found: in how many of those it was found.
        non_member: in how many audits it was a non-member.
        mistaken: in how many of those it was called a member all the same: an example that looks
            like a member whether it is one or not is not exposed.
        above: mean share of the non-members that it scored above, while it was a member.
        where: the file it is, or the file and line it stands in; empty if its dataset says nothing.
        named: in how many of the audits in which it was a member it is on the list whose share of
            false examples is bounded (`explain.discoveries`); None where that cannot be told.
    """

    example: int
    label: int
    name: str
    member: int
    found: int
    non_member: int
    mistaken: int
    above: float
    where: str = ""
    named: int | None = None


def exposed_examples(
    level: LevelScores, most: int = 10, named: Mapping[int, int] | None = None
) -> list[ExampleExposure]:
    """The most exposed examples, the surest first.

    The order is by the lower Clopper-Pearson limit of the share of audits in which a member was
    found, less the share in which it was taken for a member as a non-member: three finds in three
    audits say more than one in one. Examples alike in that go by the mean share of all audited
    examples that score below them, then by their row. One that was never a member is left out.

    Args:
        level: one attack on all networks of a level.
        most: how many to list.
        named: by an example's row, on how many bounded lists it is as a member.
    """
    size = 1 + max((int(audit.example.max(initial=-1)) for audit in level.audits), default=-1)
    sums = np.zeros((6, size))
    label = np.zeros(size, dtype=np.int64)
    for audit in level.audits:
        rows, inside = audit.example, audit.member
        above, caught = _above(audit)
        below = _ranks(audit.score)
        label[rows] = audit.label
        for number, values in enumerate(
            (inside, inside & caught, ~inside, ~inside & caught, inside * above, inside * below)
        ):
            np.add.at(sums[number], rows, values)
    member, found, non_member, mistaken, above, below = sums
    was = np.maximum(member, 1)
    limit = np.where(found > 0, betaincinv(np.maximum(found, 1), member - found + 1, 0.025), 0.0)
    surely = limit - mistaken / np.maximum(non_member, 1)
    order = np.lexsort((np.arange(size), -below / was, -surely))
    order = order[member[order] > 0][:most]
    return [
        ExampleExposure(
            int(row),
            int(label[row]),
            level.classes[label[row]],
            int(member[row]),
            int(found[row]),
            int(non_member[row]),
            int(mistaken[row]),
            float(above[row] / was[row]),
            level.names[row] if row < len(level.names) else "",
            None if named is None else named.get(int(row), 0),
        )
        for row in order
    ]


def _above(audit: Audited) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The share of the other non-members below each example, and whether so few are not."""
    others = np.sort(audit.score[~audit.member])
    count = np.maximum(len(others) - ~audit.member, 1)
    # A non-member is not its own false positive.
    reached = len(others) - np.searchsorted(others, audit.score, side="left") - ~audit.member
    return 1 - reached / count, reached / count <= RATE


def _ranks(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of all audited examples that score below each."""
    return np.searchsorted(np.sort(score), score, side="left") / len(score)
