"""Doubts about a promise of differential privacy, from what an attack proves against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privaudit.api.kinds.promise import Promise
from privaudit.doubts.doubt import Doubt


def promise_doubts(about: str, metrics: Mapping[str, Any], promise: Promise | None) -> list[Doubt]:
    """The alarm where an attack proves a larger ε than is promised.

    It is false at most once in twenty for each attack on each network, and far less often where
    attacks do not come near an ε that holds. The bound counts that needs no independent scores
    where there is one. It has to be at a δ not below the promised one: at a smaller δ a larger ε
    is no contradiction.

    Args:
        about: what was attacked, and by what.
        metrics: as `privaudit.statistics.metrics.evaluate` makes them.
        promise: what the defense promises; None: nothing, which is never broken.
    """
    if promise is None or promise.delta is None or metrics.get("delta", 0.0) < promise.delta:
        return []
    single = metrics.get("one_run_epsilon")
    proven = metrics.get("epsilon") if single is None else single
    if proven is None or proven <= promise.epsilon:
        return []
    return [
        Doubt(
            "promise",
            about,
            f"the attack proves epsilon >= {proven:.3g} at 95 %, and the defense promises at most "
            f"{promise.epsilon:.3g} (delta = {promise.delta:.2g}): its implementation or its "
            "accounting is broken, or more is learned from members than it accounts for",
        )
    ]
