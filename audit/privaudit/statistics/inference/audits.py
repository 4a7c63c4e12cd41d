"""Audits, and what any two of them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.statistics.intervals import Estimate

_BLOCK = 4096  # examples at a time


@dataclass(frozen=True)
class Audit:
    """One number about one network, with what it was computed from.

    Attributes:
        seed: of the recipe; audits of one seed share split and shadows.
        target: which of the seed's networks.
        estimate: the number and its interval over fresh examples, this audit alone.
        examples: (n,) int64: which were audited, each once; None where that is not known.
        members: (n,) bool: who of them is a member; None likewise.
        influence: (n,) float64, `inference.influence`; None where it is not known.
    """

    seed: int
    target: int
    estimate: Estimate
    examples: NDArray[np.int64] | None = None
    members: NDArray[np.bool_] | None = None
    influence: NDArray[np.float64] | None = None


def clusters(audits: Sequence[Audit]) -> list[int]:
    """What counts as one draw of split and training: a seed; with one seed, a target."""
    seeds = [audit.seed for audit in audits]
    return seeds if len(set(seeds)) > 1 else [audit.target for audit in audits]


def correlations(audits: Sequence[Audit], *, shared: bool = False) -> NDArray[np.float64]:
    """(A, A): how alike the errors of any two audits are that come from their examples.

    By influence where it is known. Where it is not, or nobody has any, examples with the same role
    in both count as if they had one influence throughout, which is the most there can be on
    average. Where not even the examples are known, targets of one seed are taken to share them
    all, seeds only if `shared`.

    Args:
        audits: A of them.
        shared: whether seeds are known to audit the same examples, in the same roles.
    """
    if any(audit.examples is None or audit.members is None for audit in audits):
        seeds = np.array([audit.seed for audit in audits])
        together = (seeds[:, None] == seeds) | shared | np.eye(len(audits), dtype=np.bool_)
        return np.where(together, 1.0, 0.0)
    gram = _products([audit.influence for audit in audits], audits)
    own = np.sqrt(gram.diagonal())
    known = own > 0
    both = known[:, None] & known
    alike = gram / np.where(both, own[:, None] * own, 1.0)
    return np.where(both, alike, 0.0 if both.all() else _overlap(audits))


def _overlap(audits: Sequence[Audit]) -> NDArray[np.float64]:
    """(A, A): the share of examples that are members in both, or non-members in both."""
    alike = np.zeros((len(audits), len(audits)))
    for role in (True, False):
        flags = [_role(audit, role) for audit in audits]
        alike += _products([flag / np.sqrt(max(flag.sum(), 1)) for flag in flags], audits) / 2
    return alike


def _role(audit: Audit, role: bool) -> NDArray[np.bool_]:
    return np.empty(0, np.bool_) if audit.members is None else audit.members == role


def _products(
    values: Sequence[NDArray[np.float64] | None], audits: Sequence[Audit]
) -> NDArray[np.float64]:
    """(A, A): sums over examples of the products of two audits' values; none counts as 0."""
    gram = np.zeros((len(audits), len(audits)))
    for block in blocks(values, [audit.examples for audit in audits]):
        gram += block @ block.T
    return gram


def blocks(
    values: Sequence[NDArray[np.float64] | None], examples: Sequence[NDArray[np.int64] | None]
) -> Iterator[NDArray[np.float64]]:
    """(A, b) blocks of the table of audits by examples; 0 where an example is not in an audit."""
    rows = [
        (np.empty(0, np.int64), np.empty(0))
        if value is None or ids is None
        else _sorted(ids, value)
        for value, ids in zip(values, examples, strict=True)
    ]
    distinct = np.unique(np.concatenate([ids for ids, _ in rows]))
    for start in range(0, len(distinct), _BLOCK):
        block = distinct[start : start + _BLOCK]
        table = np.zeros((len(rows), len(block)))
        for line, (ids, value) in zip(table, rows, strict=True):
            first, last = np.searchsorted(ids, [block[0], block[-1] + 1])
            line[np.searchsorted(block, ids[first:last])] = value[first:last]
        yield table


def _sorted(
    ids: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    order = np.argsort(ids, kind="stable")
    return ids[order], values[order]
