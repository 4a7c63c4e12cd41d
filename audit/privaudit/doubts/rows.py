"""Examples that stand among members and non-members at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from privaudit.doubts.doubt import Doubt

_SHARE = 0.01  # of the non-members: so many blur even the lowest false positive rates reported
_NETWORKS = 3
_COMPARED = 8  # networks; of more, a number next to a rounding's edge parts twins
_SAME = 1e-4  # of the interquartile range: the sums of another batch differ by far less
_MOST = 0.5  # of one side: what fewer than three networks must answer alike to prove copies
_ALIKE = 0.1  # of one side that may be alike among themselves
_FINE = 1024  # distinct numbers up to which equal answers prove nothing: votes, rounded numbers


def duplicate_rows(
    answers: Sequence[Tensor],
    odds: NDArray[np.float64],
    examples: Tensor | None,
    labels: NDArray[np.int64],
    members: NDArray[np.bool_],
    audited: NDArray[np.bool_],
) -> list[Doubt]:
    """Non-members that are members under another row number, and so no non-members.

    Rows are the same where the examples are, or where eight networks give their true class the
    same log-odds but for what another batch changes. Two different examples never get that from
    three networks or more; from fewer they do, as shallow trees give all examples of one leaf the
    same. There rows are the same where all answers are, to the last digit, and only if that holds
    for most of one side, of which hardly any two are alike. Where answers are coarse, as votes
    are, or saturate at 0 and 1, equal answers prove nothing and are not looked at.

    Args:
        answers: of each network (N, C), with the target's first.
        odds: (M, N): the log-odds of the true class from each.
        examples: (N, ...), or None where they are not given.
        labels: (N,).
        members: (N,): the target's.
        audited: (N,).
    """
    rows = np.flatnonzero(audited)
    keys = labels[rows].astype(np.int64)
    if examples is not None and examples.numel():
        keys = _joined(keys, examples.flatten(1).numpy()[rows])
    else:
        telling = np.ones(len(rows), dtype=bool)
        for network in answers:
            numbers = network.numpy()[rows]
            finite = np.isfinite(numbers)
            some = numbers[finite][: 8 * _FINE]
            if len(np.unique(some)) <= min(_FINE, len(some) / 4):
                return []
            telling &= finite.all(1) & ~np.isin(numbers, (0.0, 1.0)).any(1)
        if len(answers) < _NETWORKS:
            whole = np.concatenate([network.numpy()[rows] for network in answers], axis=1)
            keys = _joined(keys, whole)
        else:
            keys = _joined(keys, _rounded(odds[:_COMPARED, rows]))
        rows, keys = rows[telling], keys[telling]
        if len(answers) < _NETWORKS and not _copied(keys, members[rows]):
            return []
    inside = members[rows]
    twins = np.isin(keys, keys[inside]) & ~inside
    if not many(int(twins.sum()), int((~members & audited).sum())):
        return []
    share = twins.sum() / max(1, (~members & audited).sum())
    first = int(rows[twins][0])
    other = int(rows[inside & (keys == keys[twins][0])][0])
    words = (
        f"{int(twins.sum())} non-members ({100 * share:.1f} %) are the same as members, such as "
        f"row {first} as row {other}: what was trained on is counted as a false alarm; leave "
        "duplicates out of the audit"
    )
    return [Doubt("duplicate_rows", "members", words)]


def _copied(keys: NDArray[np.int64], inside: NDArray[np.bool_]) -> bool:
    """Whether most of members or non-members stand on the other side, and are no two alike."""
    for own, other in ((keys[inside], keys[~inside]), (keys[~inside], keys[inside])):
        if len(own) == 0 or len(np.unique(own)) < (1 - _ALIKE) * len(own):
            continue
        if np.isin(own, other).mean() > _MOST:
            return True
    return False


def many(count: int, of: int) -> bool:
    """Whether so many of the non-members are no non-members that it blurs what is reported."""
    return count >= 2 and count > _SHARE * of


def _rounded(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, M): log-odds (M, n) in steps of a small part of how widely each network's spread."""
    low, high = np.quantile(odds, [0.25, 0.75], axis=1, keepdims=True)
    step = np.where(high > low, _SAME * (high - low), 1.0)
    return np.rint(odds / step).T


def _joined(keys: NDArray[np.int64], numbers: NDArray[np.generic]) -> NDArray[np.int64]:
    """New keys (n,), the same for two rows where the keys and all numbers (n, ...) are."""
    whole = np.ascontiguousarray(numbers.reshape(len(numbers), -1))
    raw = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1])))[:, 0]
    both = np.stack([keys, np.unique(raw, return_inverse=True)[1]], axis=1)
    return np.unique(both, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
