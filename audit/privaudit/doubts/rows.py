"""Examples that stand among members and non-members at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from privaudit.doubts.doubt import Doubt

_SHARE = 0.01  # of the non-members: so many blur even the lowest false positive rates reported
_NETWORKS = 3  # of fewer, more than the log-odds of the true class is compared
_COMPARED = 8  # networks; of more, a number next to a rounding's edge parts twins
_COLUMNS = 3  # other answers of each of few networks
_SAME = 1e-4  # of the interquartile range: the sums of another batch differ by far less
_MORE = 3.0  # times as often across the sides as within one, and it is no chance
_DISTINCT = 10  # answers, each of which two sides of other examples do not have equally often


def duplicate_rows(
    answers: Sequence[Tensor],
    odds: NDArray[np.float64],
    examples: Tensor | None,
    labels: NDArray[np.int64],
    members: NDArray[np.bool_],
    audited: NDArray[np.bool_],
) -> list[Doubt]:
    """Non-members that are members under another row number, and so no non-members.

    Rows are the same where the examples are. Where these are not given, rows are alike where
    networks answer them alike but for what another batch changes: up to eight networks by the
    log-odds of the true class, one or two by further answers as well. Votes and shallow trees
    answer many different examples alike, within each side as well as across; so alike rows count
    as the same only where a non-member has one among the members far more often than a member has
    another, or where each side has every answer as often as the other. Networks that are sure to
    the last digit, 0 or 1, are not looked at.

    Args:
        answers: of each network (N, C), with the target's first.
        odds: (M, N): the log-odds of the true class from each.
        examples: (N, ...), or what names them; None where neither is given.
        labels: (N,).
        members: (N,): the target's.
        audited: (N,).
    """
    rows = np.flatnonzero(audited)
    keys = labels[rows].astype(np.int64)
    known = examples is not None and examples.numel() > 0
    if known:
        assert examples is not None
        keys = _joined(keys, examples.flatten(1).numpy()[rows])
    elif words := _mirrored(keys, answers, rows, members):
        return [Doubt("duplicate_rows", "members", words)]
    else:
        rows = rows[_unsaturated(answers, rows)]
        if len(rows) == 0:
            return []
        keys = _joined(labels[rows].astype(np.int64), _rounded(_numbers(answers, odds, rows)))
    inside = members[rows]
    twins = np.isin(keys, keys[inside]) & ~inside
    count = int((~members & audited).sum())
    if not many(int(twins.sum()), count) or not (known or _across(keys, inside)):
        return []
    first = int(rows[twins][0])
    other = int(rows[inside & (keys == keys[twins][0])][0])
    words = (
        f"{int(twins.sum())} non-members ({100 * twins.sum() / count:.1f} %) "
        f"{'are' if known else 'answer'} the same as members, such as row {first} as row {other}: "
        "what was trained on is counted as a false alarm; leave duplicates out of the audit"
    )
    if not known:
        words += ", or give ids (N,) of the examples, if they are none"
    return [Doubt("duplicate_rows", "members", words)]


def _unsaturated(answers: Sequence[Tensor], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows every network answers with numbers that could be others."""
    telling = np.ones(len(rows), dtype=bool)
    for network in answers:
        numbers = network.numpy()[rows]
        telling &= np.isfinite(numbers).all(1) & ~np.isin(numbers, (0.0, 1.0)).any(1)
    return telling


def _numbers(
    answers: Sequence[Tensor], odds: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What is compared of each row, (k, n)."""
    if len(answers) >= _NETWORKS:
        return odds[:_COMPARED, rows]
    further = [odds[:, rows]]
    for network in answers:
        numbers = network.numpy()[rows].astype(np.float64)
        if numbers.shape[1] > 2:
            further.append((numbers - numbers.mean(1, keepdims=True)).T[:_COLUMNS])
    return np.concatenate(further)


def _across(keys: NDArray[np.int64], inside: NDArray[np.bool_]) -> bool:
    """Whether non-members have twins among the members more often than sides have of their own."""
    own, other = keys[inside], keys[~inside]
    usual = max(_twins_within(own), min(1.0, _twins_within(other) * len(own) / len(other)))
    return bool(np.isin(other, own).mean() > _SHARE + _MORE * usual)


def _twins_within(keys: NDArray[np.int64]) -> float:
    """The share of rows that another row of their side is alike to."""
    counts = np.unique(keys, return_counts=True)[1]
    return float(counts[counts > 1].sum() / len(keys))


def _mirrored(
    labels: NDArray[np.int64],
    answers: Sequence[Tensor],
    rows: NDArray[np.int64],
    members: NDArray[np.bool_],
) -> str:
    """That each side holds the same answers as often as the other; empty where it does not."""
    whole = np.concatenate([network.numpy()[rows] for network in answers], axis=1)
    keys, inside = _joined(labels, whole), members[rows]
    sides = [np.unique(keys[side], return_counts=True) for side in (inside, ~inside)]
    if len(sides[0][0]) < _DISTINCT or not all(map(np.array_equal, *sides)):
        return ""
    return (
        "members and non-members have the same answers, each of them equally often: they are the "
        "same rows, given on both sides; give others, that were not trained on"
    )


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
