"""Whether networks, and queries of one, find the same examples hard: rows in another order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.networks import Networks, log_odds, named, ranks

_ABSENT = 2.3  # standard deviations of a correlation that is not there
_STRONG = 8.0  # the same of one that is
_SHARE = 0.25  # of the others' correlation
_ENOUGH = 50  # examples from which a correlation that is there shows
_ROWS = 500  # on which queries are compared

_WORDS = (
    "the other networks find the same examples hard, and this one others: its rows seem to stand "
    "in another order, within their classes; bring all networks' rows into one"
)


def agreement_doubts(networks: Networks) -> list[Doubt]:
    """Networks whose answers go with nobody's, where those of the others go together.

    What is hard for one network is hard for the next. So within each class the log-odds of one, on
    examples that it was not trained on, correlate with the mean of the others', unless rows are
    mixed up. A network is doubted where that correlation is below a quarter of the others' and
    within chance of 0, while the others' is eight standard deviations from it.
    """
    if len(networks) < 3:
        return []
    place = _within(ranks(networks.odds), networks.labels)
    shared, signs = np.transpose([_shared(networks, place, k) for k in range(len(place))])
    if not np.isfinite(signs[1:]).any():
        return []
    usual, sign = float(np.nanmedian(shared[1:])), float(np.nanmedian(signs[1:]))
    if not sign >= _STRONG:
        return []
    return [
        Doubt("order", named(k), _WORDS, f"correlation {shared[k]:.2f}, usually {usual:.2f}")
        for k in range(len(networks))
        if shared[k] < _SHARE * usual and signs[k] < _ABSENT
    ]


def query_doubts(
    answers: Sequence[Tensor], labels: Tensor, audited: NDArray[np.bool_]
) -> list[Doubt]:
    """Networks whose answers to a query do not go with those to the examples themselves.

    Args:
        answers: of each network (Q, N, C), query 0 the examples.
        labels: (N,) int64.
        audited: (N,).
    """
    rows = np.flatnonzero(audited)
    rows = rows[:: max(1, len(rows) // _ROWS)]
    y = labels[rows]
    words = (
        "the answers to another query have nothing to do with those to the examples themselves: "
        "its rows seem to stand in another order, or the axes of queries and rows to be exchanged"
    )
    doubts = []
    for k, queries in enumerate(answers):
        place = ranks(np.stack([log_odds(z[rows], y).numpy() for z in queries]))
        place = _within(np.nan_to_num(place), y.numpy())
        for q in range(1, len(place)):
            if min(place[0].std(), place[q].std()) == 0:
                continue
            correlation = float(np.corrcoef(place[0], place[q])[0, 1])
            if correlation * np.sqrt(len(rows)) < _ABSENT and len(rows) >= _ENOUGH:
                seen = f"query {q}, correlation {correlation:.2f}"
                doubts.append(Doubt("order", named(k), words, seen))
    return doubts


def _shared(networks: Networks, place: NDArray[np.float64], k: int) -> tuple[float, float]:
    """The correlation with the others' mean, alone and times the root of the examples."""
    rows = networks.known[0] & ~networks.members[k]
    mine, others = place[k, rows], np.delete(place, k, axis=0)[:, rows].mean(0)
    if len(mine) < 3 or mine.std() == 0 or others.std() == 0:
        return np.nan, np.nan
    correlation = float(np.corrcoef(mine, others)[0, 1])
    return correlation, correlation * float(np.sqrt(len(mine)))


def _within(place: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M, n): what of each network's ranks its class does not explain."""
    counts = np.bincount(labels)
    sums = np.stack([np.bincount(labels, some) for some in place])
    means = sums / np.maximum(1, counts)
    return np.asarray(place - means[:, labels])
