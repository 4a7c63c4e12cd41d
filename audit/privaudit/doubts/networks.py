"""Several networks' answers to the same examples, and who of them fits the labels and the others.

Every check is strict: its sentence turns an audit away, so one that is made as it should be must
hardly ever meet it. `python -m benchmarks.false_alarms` counts how often it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.renamed import other_names
from privaudit.statistics.midranks import midranks

ERROR = 1e-4
"""The chance that a test speaks up against an audit that is as it should be, all networks of the
audit together."""

_NO_FIT = 3.0  # standard deviations below which labels fit no better than shuffled ones
_FEW = 10  # members below which neither accuracy nor fit says anything
_SPREAD = log(10)  # networks trained alike differ far less in the spread of their log-odds
_SPREAD_OF_MANY = log(2.5)  # the same for the target, beside 4 others or more on 200 examples
_APART = 0.25  # in accuracy on the members
_ALIKE = 0.01  # of the usual distance between two networks; half precision changes less
_ROWS = 2000  # on which networks are compared with each other
_FEW_ROWS = 200  # the same where all classes are
_ALIKE_TWO = 1e-4  # of the spread, where there are only two


@dataclass(frozen=True)
class Networks:
    """What M networks, the target first, answer about N examples.

    Attributes:
        logits: of each network, (N, C).
        labels: (N,) int64.
        members: (M, N) bool: who each network is said to have been trained on.
        known: (M, N) bool: the rows of which that is said.
        odds: (M, N) float64: the log-odds of the true class. Infinite ones lie just beyond the
            others, where they keep their rank.
        right: (M, N) bool: whether the label is predicted.
    """

    logits: Sequence[Tensor]
    labels: NDArray[np.int64]
    members: NDArray[np.bool_]
    known: NDArray[np.bool_]
    odds: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        logits: Sequence[Tensor],
        labels: Tensor,
        members: NDArray[np.bool_],
        known: NDArray[np.bool_],
    ) -> Networks:
        """Networks of their logits, without NaN; the rest as in the attributes."""
        odds = np.stack([log_odds(z, labels).numpy() for z in logits])
        right = np.stack([(z.argmax(-1) == labels).numpy() for z in logits])
        return cls(logits, labels.numpy(), members & known, known, _ends(odds), right)

    def __len__(self) -> int:
        return len(self.odds)

    def accuracy(self) -> NDArray[np.float64]:
        """(M,): the share of each network's members that it predicts rightly."""
        count = self.members.sum(1)
        share = np.full(len(self), np.nan)
        np.divide((self.right & self.members).sum(1), count, out=share, where=count > 0)
        return share


def named(network: int) -> str:
    """The target, which is network 0, or a shadow, by its row in the arrays.

    >>> named(0), named(4)
    ('target', 'shadow 3')
    """
    return f"shadow {network - 1}" if network else "target"


def label_doubts(networks: Networks) -> list[Doubt]:
    """Networks that do not fit the labels of their own members, or would fit others far better.

    Shuffled labels escape with a chance of 0.1 % a network, with fewer than 37 members up to 10 %:
    so few cannot fit much better.
    """
    counts = networks.members.sum(1)
    swapped = [k for k in range(len(networks)) if _swapped(networks, k)]
    rest = [k for k in range(len(networks)) if k not in swapped]
    strangers = [
        k for k in rest if _fit(networks, k) < min(_NO_FIT, sqrt(max(0, counts[k] - 1)) / 2)
    ]
    name, words = (
        "labels",
        (
            "no better than by guessing: labels or membership seem to belong to other rows, or the "
            "network has learnt nothing"
        ),
    )
    if len(strangers) < len(rest):
        name, words = (
            "order",
            (
                "no better than by guessing, though other networks fit the labels: the rows of "
                "this one seem to stand in another order; bring all networks' rows into one"
            ),
        )
    renamed = (
        "far more would be right if classes were renamed: labels and answers seem to number the "
        "classes differently, as from 0 and from 1"
    )
    shares = networks.accuracy()
    return [
        *(Doubt("labels", named(k), renamed, _right(shares[k])) for k in swapped),
        *(Doubt(name, named(k), words, _right(shares[k])) for k in strangers),
    ]


def unlike_doubts(networks: Networks) -> list[Doubt]:
    """Networks far from all others in how sure they are, or in accuracy on their own members."""
    if len(networks) < 2:
        return []
    spread, wide = (np.log(np.maximum(_range(networks, tail), 1e-12)) for tail in (0.25, 0.1))
    usual = float(np.median(spread[1:]))
    many = len(networks) > 4 and len(networks.labels) >= 200
    scale = (
        "this is far from how widely the log-odds of other networks spread: the numbers seem to be "
        "of another kind or scale; give all networks' in the same way"
    )
    doubts = [
        Doubt("unlike", named(k), scale, f"{np.exp(spread[k] - usual):.2g} times the shadows'")
        for k in range(len(networks))
        if _outlies(spread, k, _SPREAD)
        or (k == 0 and many and all(_outlies(some, k, _SPREAD_OF_MANY) for some in (spread, wide)))
    ]
    counts = networks.members.sum(1)
    shares = np.where(counts >= _FEW, networks.accuracy(), np.nan)
    words = (
        "this is far from the other networks: it was asked or trained in another way than those "
        "with which attacks compare it"
    )
    return doubts + [
        Doubt("unlike", named(k), words, _right(shares[k]))
        for k in range(len(networks))
        if _outlies(shares, k, max(_APART, 2 / sqrt(max(1, counts[k]))))
    ]


def duplicate_doubts(networks: Networks) -> list[Doubt]:
    """Networks that answer alike to almost the last digit, or do at another temperature."""
    count = len(networks)
    if count < 2:
        return []
    distance = np.full((count, count), np.inf)
    odds = networks.odds[:, :: max(1, networks.odds.shape[1] // _ROWS)]
    for k in range(count - 1):
        away = np.quantile(np.abs(odds[k + 1 :] - odds[k]), 0.9, axis=1)
        distance[k, k + 1 :] = distance[k + 1 :, k] = away
    scale = max(float(_range(networks, 0.25).max()), 1e-12)
    usual = float(np.median(distance[np.isfinite(distance)]))
    least = _ALIKE * usual if count > 2 else _ALIKE_TWO * scale
    words = (
        "two networks answer alike to the last digits, so that one seems to be given twice: leave "
        "it out; a target among its own shadows hides what it tells"
    )
    for away, near in ((distance, least), _apart_in_shape(networks)):
        twins = [k for k in range(count) if away[k].min() <= near]
        if twins:
            return [
                Doubt("duplicate_network", named(k), words, f"as {named(int(away[k].argmin()))}")
                for k in twins
            ]
    return []


def _apart_in_shape(networks: Networks) -> tuple[NDArray[np.float64], float]:
    """(M, M): how far networks are apart whatever their temperature, and what is next to nothing.

    The distance of their logits as vectors of length 1, less each example's mean, of 200 examples.
    """
    count = len(networks)
    step = max(1, len(networks.labels) // _FEW_ROWS)
    away = np.full((count, count), np.inf)
    logits = np.stack([z[::step].double().numpy() for z in networks.logits])
    logits = logits[:, np.isfinite(logits).all((0, 2))]
    flat = (logits - logits.mean(-1, keepdims=True)).reshape(count, -1)
    length = np.linalg.norm(flat, axis=1)
    if count < 3 or flat.shape[1] == 0 or not (np.isfinite(length) & (length > 0)).all():
        return away, 0.0
    unit = flat / length[:, None]
    for k in range(count - 1):
        away[k, k + 1 :] = away[k + 1 :, k] = np.linalg.norm(unit[k + 1 :] - unit[k], axis=1)
    return away, _ALIKE * float(np.median(away[np.isfinite(away)]))


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Log p_y - log Σ_{i≠y} p_i, (N,) float64, ±inf where a probability is 0.

    Carlini et al. 2022, "Membership inference attacks from first principles", logit scaling.
    """
    z = logits.double()
    own = labels[:, None]
    true = z.gather(-1, own)[:, 0]
    return true - z.scatter(-1, own, -torch.inf).logsumexp(-1)


def _ends(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = odds[np.isfinite(odds)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.nan_to_num(odds, nan=0.0, posinf=high + log(2), neginf=low - log(2))


def _fit(networks: Networks, k: int) -> float:
    """How far the labels of a network's members fit its answers better than shuffled ones do.

    In standard deviations of a permutation test (Hoeffding 1951, "A combinatorial central limit
    theorem") on the sum of p_y; NaN where nothing can be said. A network that predicts one class
    for all still fits its labels, as it is a little surer of it where it is right.
    """
    rows = networks.members[k]
    y, count = networks.labels[rows], int(rows.sum())
    if count < _FEW:
        return np.nan
    p = networks.logits[k][torch.from_numpy(rows)].double().softmax(-1).numpy()
    share = np.bincount(y, minlength=p.shape[1]) / count
    typical = p - p.mean(0)
    away = typical - (typical @ share)[:, None]
    variance = (away**2 @ share).sum() * count / (count - 1)
    if variance <= 1e-24:
        return np.nan
    return float(away[np.arange(count), y].sum() / np.sqrt(variance))


def _swapped(networks: Networks, k: int) -> bool:
    """Whether renaming some classes would make far more of a network's members right.

    A network that predicts one class for all has no other names to offer.
    """
    rows = networks.members[k]
    predicted = networks.logits[k][torch.from_numpy(rows)].argmax(-1).numpy()
    if len(np.unique(predicted)) < 2:
        return False
    classes = networks.logits[k].shape[1]
    return other_names(networks.labels[rows], predicted, classes) is not None


def _outlies(values: NDArray[np.float64], k: int, least: float) -> bool:
    """Whether one of M values lies further from the others' median than `least` and their range."""
    others = np.delete(values, k)
    others = others[np.isfinite(others)]
    if len(others) == 0 or not np.isfinite(values[k]):
        return False
    if k and len(values) == 2:
        return False  # of two that differ the target is named
    middle = np.median(others)
    usual = np.median(np.abs(others - middle)) / ndtri(0.75)
    return bool(abs(values[k] - middle) > max(least, 6 * usual))


def _range(networks: Networks, tail: float) -> NDArray[np.float64]:
    """(M,): of the log-odds, without so large a share at either end."""
    low, high = np.quantile(networks.odds, [tail, 1 - tail], axis=1)
    return np.asarray(high - low)


def _right(share: float) -> str:
    return f"right on {100 * share:.0f} % of its members"


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of the relative ranks, so that networks of any scale compare: the same shape."""
    share = (midranks(values, axis=-1) - 0.5) / values.shape[-1]
    return np.asarray(np.log(share) - np.log1p(-share))
