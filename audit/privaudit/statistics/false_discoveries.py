"""Lists of examples that come with a bound on the share of false ones.

Zhao et al. 2025, "Membership inference attacks with false discovery rate control" (arXiv
2508.07066) put such a bound on the examples that an attack calls members. Here it is the procedure
of Benjamini & Hochberg on conformal p-values: Bates et al. 2023, "Testing for outliers with
conformal p-values", theorem 2 and corollary 1. Their proof takes scores without ties. With ties the
bound holds, too: going from low thresholds to high ones, the false examples that are left, over one
more than the known non-members that are left, never rises in expectation, however many leave at
once, and each list ends where that ratio stops it (derived here, and simulated in
`benchmarks.false_discoveries`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privaudit.errors import PrivauditError
from privaudit.statistics.curve import as_scores


def conformal_p(scores: ArrayLike, known: ArrayLike) -> NDArray[np.float64]:
    """The p-value of each example, of the hypothesis that it is no member.

    (1 + how many known non-members score as high or higher) / (1 + how many there are). It is
    exact whatever the law of the scores, if the example, were it no member, and the known ones
    are exchangeable: drawn alike, and none of them used to make the attack. Ties raise it.

    Args:
        scores: (m,), higher = likelier a member.
        known: (n,) scores of examples that are known not to be members.

    Returns:
        (m,) from 1 / (n + 1) to 1.

    >>> conformal_p([5, 2, 0], [1, 2, 3]).tolist()
    [0.25, 0.75, 1.0]

    Raises:
        PrivauditError: a score is NaN, or none is known.
    """
    values, others = as_scores(scores), np.sort(as_scores(known))
    if not len(others):
        raise PrivauditError("no p-value without examples that are known not to be members")
    reached = len(others) - np.searchsorted(others, values, side="left")
    return np.asarray((1 + reached) / (1 + len(others)), np.float64)


def benjamini_hochberg(
    p_values: ArrayLike, level: float, null_share: float = 1.0
) -> NDArray[np.bool_]:
    """The largest list whose expected share of false ones is at most `level`.

    Benjamini & Hochberg 1995, "Controlling the false discovery rate", section 3.1: the k smallest,
    k the largest number for which the k-th is at most level k / (m null_share). The bound holds
    for independent p-values, and for those of `conformal_p` (Benjamini & Yekutieli 2001, theorem
    1.2); with `null_share` left at 1 it holds whatever that share is.

    Args:
        p_values: (m,).
        level: above 0 and below 1.
        null_share: the share of the m examples that are not members, where it is known.

    Returns:
        (m,) bool, which are on the list.

    >>> benjamini_hochberg([0.01, 0.1, 0.02, 0.9], 0.1).tolist()
    [True, False, True, False]
    >>> benjamini_hochberg([0.01, 0.1, 0.02, 0.9], 0.1, null_share=0.5).tolist()
    [True, True, True, False]

    Raises:
        PrivauditError: the level, the share or a p-value is out of range.
    """
    values = np.asarray(p_values, np.float64)
    if not 0 < level < 1:
        raise PrivauditError(f"a false discovery rate must be above 0 and below 1, got {level}")
    if not 0 < null_share <= 1:
        raise PrivauditError(f"the share of non-members must be above 0, up to 1, got {null_share}")
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise PrivauditError("p-values must be numbers (m,) from 0 to 1")
    ranked = np.sort(values)
    # A product on the left: 1 / 10 <= 0.1 must not hang on how 0.1 is rounded twice.
    kept = np.flatnonzero(
        ranked * len(values) * null_share <= level * np.arange(1, len(values) + 1) * (1 + 1e-12)
    )
    if not len(kept):
        return np.zeros(len(values), np.bool_)
    return np.asarray(values <= ranked[kept[-1]], np.bool_)


def shortest_list(tested: int, known: int, level: float, null_share: float = 1.0) -> int | None:
    """The fewest examples that a list can hold: with p-values as small as `known` ones give.

    Returns:
        None where even a list of all `tested` examples would need smaller p-values.

    >>> shortest_list(100, 99, 0.1), shortest_list(100, 8, 0.1)
    (10, None)
    """
    fewest = int(np.ceil(tested * null_share / ((known + 1) * level) * (1 - 1e-12)))
    return max(fewest, 1) if fewest <= tested else None
