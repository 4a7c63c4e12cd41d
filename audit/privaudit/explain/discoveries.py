"""Which examples an attacker can name who allows himself few false ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from privaudit.explain.scores import Audited, LevelScores
from privaudit.statistics.false_discoveries import (
    benjamini_hochberg,
    conformal_p,
    shortest_list,
)

FDR = 0.1
"""The share of false ones that a list may hold in expectation, where nobody says another."""


@dataclass(frozen=True)
class NamedExamples:
    """What one network gives away.

    Attributes:
        seed: of the recipe.
        target: which of the seed's networks.
        known: how many non-members the attacker knows.
        tested: how many other examples there are.
        examples: the named, as rows of the dataset.
        false: those of them that are not members.
    """

    seed: int
    target: int
    known: int
    tested: int
    examples: tuple[int, ...]
    false: tuple[int, ...]


@dataclass(frozen=True)
class Discoveries:
    """Lists of examples, at most a share `fdr` of which are not members, in expectation.

    Attributes:
        fdr: that share.
        named: how many examples are on a list: the mean over networks; None where it cannot be
            told.
        false_share: the share of a list that are not members, in truth: the mean over networks,
            0 for an empty list.
        reason: why nothing is named, or nothing can be told; empty where something is.
        lists: one for each network of which something can be told.
    """

    fdr: float
    named: float | None
    false_share: float | None
    reason: str
    lists: tuple[NamedExamples, ...] = field(default=())

    def times_named(self) -> Mapping[int, int] | None:
        """On how many lists each example is as a member, by its row; None: cannot be told."""
        if self.named is None:
            return None
        return Counter(row for one in self.lists for row in {*one.examples}.difference(one.false))


def discoveries(level: LevelScores, fdr: float = FDR) -> Discoveries:
    """The lists of one attack on all networks of a level.

    An attacker knows half of each network's non-members, drawn at random by the seed and the
    target, and the share of members among all other examples. These it tests: each gets a p-value
    against the known ones, and Benjamini & Hochberg choose the list. As the known half is drawn at
    random, the bound holds of each network, whatever the scores and their ties.

    Args:
        level: one attack on all networks of a level.
        fdr: above 0 and below 1.
    """
    lists: list[NamedExamples] = []
    reasons: list[str] = []
    for audit in level.audits:
        named, reason = _named(audit, fdr)
        lists += [] if named is None else [named]
        reasons += [reason] if reason else []
    if not lists:
        return Discoveries(fdr, None, None, next(iter(reasons), "no network was attacked"))
    shares = [len(one.false) / max(len(one.examples), 1) for one in lists]
    count = mean(len(one.examples) for one in lists)
    return Discoveries(fdr, count, mean(shares), "" if count else reasons[-1], tuple(lists))


def _named(audit: Audited, fdr: float) -> tuple[NamedExamples | None, str]:
    """The list of one network, and why it is empty, or cannot be made."""
    known = _known(audit)
    tested = ~known
    inside, others, total = audit.member[tested], int(known.sum()), int(tested.sum())
    if not others or not inside.any():
        return None, "it takes two non-members and a member at least"
    share = 1 - float(inside.mean())
    if share <= fdr:
        return None, (
            f"only {100 * share:.3g} % of the examples are not members, so that a list of all of "
            "them holds no more"
        )
    least = shortest_list(total, others, fdr, share)
    if least is None:
        return None, f"{others} known non-members give no p-value below {1 / (others + 1):.2g}"
    p_values = conformal_p(audit.score[tested], audit.score[known])
    chosen = benjamini_hochberg(p_values, fdr, share)
    named = NamedExamples(
        audit.seed,
        audit.target,
        others,
        total,
        tuple(np.sort(audit.example[tested][chosen]).tolist()),
        tuple(np.sort(audit.example[tested][chosen & ~inside]).tolist()),
    )
    if named.examples:
        return named, ""
    return named, (
        f"with {others} known non-members a list starts at {least} examples, and fewer score high "
        "enough"
    )


def _known(audit: Audited) -> NDArray[np.bool_]:
    """(n,) bool, the half of the non-members that the attacker knows, rounded down."""
    rows = np.flatnonzero(~audit.member)
    drawn = np.random.default_rng([audit.seed, audit.target]).permutation(rows)
    known = np.zeros(len(audit.member), np.bool_)
    known[drawn[: len(rows) // 2]] = True
    return known


def sentences(found: Discoveries, audits: int) -> list[str]:
    """What the lists say, for people.

    Args:
        found: of one level.
        audits: how many networks the level has.
    """
    bound = f"at most {100 * found.fdr:.3g} % false ones in expectation"
    if found.named is None or found.false_share is None:
        return [f"Whom an attacker can name, with {bound}, cannot be told: {found.reason}."]
    untold = audits - len(found.lists)
    more = [f"Of {untold} of {audits} networks it cannot be told."] if untold else []
    if not found.named:
        return [
            f"With {bound} an attacker names nobody: {found.reason}. This does not show that "
            "nobody is exposed.",
            *more,
        ]
    several = len(found.lists) > 1
    return [
        f"named: by an attacker who knows half of the non-members, and whose list holds {bound} "
        f"(--fdr). It holds {found.named:.4g} examples{' a network' if several else ''}, of which "
        f"{100 * found.false_share:.3g} % are no members in truth.",
        *more,
    ]


def times(named: int | None, member: int, missing: str) -> str:
    """How often an example is named, of the times that it was a member."""
    return missing if named is None else f"{named} of {member}"
