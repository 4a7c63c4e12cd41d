"""Labels that are the network's own predictions: then nobody is answered wrongly, member or not."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.networks import ERROR, Networks

_CLOSE = 0.2  # how far ahead of the next class one is that is hardly decided
_CHANCE = (1 + _CLOSE) / 2  # of being right there, at most, for a network that is calibrated


def own_label_doubts(networks: Networks) -> list[Doubt]:
    """A target that is right about every audited example, even about those it hardly decides.

    A network that errs nowhere may be a very good one. It is doubted where so many examples are
    won by less than 0.2 of probability that one which is as good as it says would have erred.
    """
    rows = networks.known[0]
    if not networks.right[0, rows].all():
        return []
    close = _narrow(networks.logits[0].numpy()[rows])
    if close * -log(_CHANCE) < -log(ERROR):
        return []
    words = (
        f"it is right about all {int(rows.sum()):,} examples, even about {close} that it hardly "
        "decides: labels seem to be its own predictions; give those that it was trained on"
    )
    return [Doubt("labels", "target", words)]


def _narrow(logits: NDArray[np.floating]) -> int:
    """How many rows (n, C) are won narrowly."""
    best = np.sort(softmax(logits.astype(np.float64), axis=1), axis=1)[:, -2:]
    return int((best[:, 1] - best[:, 0] < _CLOSE).sum())
