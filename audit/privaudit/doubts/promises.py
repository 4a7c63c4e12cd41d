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
    is no contradiction. A promise that does not tell its δ is taken to be made at that of the
    bound, and the doubt says so.

    Args:
        about: what was attacked, and by what.
        metrics: as `privaudit.statistics.metrics.evaluate` makes them.
        promise: what the defense promises; None: nothing, which is never broken.
    """
    if promise is None or (promise.delta or 0.0) > metrics.get("delta", 0.0):
        return []
    single = metrics.get("one_run_epsilon")
    proven = metrics.get("epsilon") if single is None else single
    if proven is None or proven <= promise.epsilon:
        return []
    untold = "" if promise.delta is not None else ", if its delta is no larger"
    return [
        Doubt(
            "promise",
            about,
            "the attack proves a larger epsilon, at 95 %, than the defense promises: its "
            "implementation or its accounting is broken, or more is learned from members than it "
            "accounts for",
            f"epsilon >= {proven:.3g} at delta = {metrics.get('delta', 0.0):.2g} against "
            f"{promise.epsilon:.3g}{untold}",
        )
    ]
