"""Training curves: what a run would have to keep for them, and does not."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.errors import StoreError
from privaudit.figures.figure import Figure
from privaudit.report.aggregate import run_names
from privaudit.report.escape import plain
from privaudit.store.result import RunResult


def curves(results: Sequence[RunResult]) -> list[Figure]:
    """Refuse, as no run keeps loss and accuracy of each epoch.

    Raises:
        StoreError: always.
    """
    raise StoreError(
        f"{plain(', '.join(run_names(results)))}: training curves cannot be drawn, as a run keeps "
        "each network's weights and final accuracies, and not its loss after each epoch; plot "
        "roc, tradeoff, density or scores"
    )
