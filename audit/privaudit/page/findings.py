"""What all views of a page are made from, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from privaudit.api.host import Plugins, load_plugins
from privaudit.explain import Explanation, explain
from privaudit.explain.discoveries import FDR
from privaudit.report.aggregate import compare, shown
from privaudit.report.gates import GateFinding
from privaudit.report.names import run_names
from privaudit.report.rows import Row
from privaudit.store.result import RunResult


@dataclass(frozen=True)
class Findings:
    """Runs, and what was asked about them.

    Attributes:
        results: the runs, in the order of the page.
        baseline: SUBJECT or SUBJECT/LEVEL that changes are measured against; None: each run's
            first row.
        sort: one of `report.choose.ORDERS`; None: run order.
        records: whether single examples may be shown.
        gates: what holding gates against the runs came to.
        known: what `report.compare` makes of the runs, where that is known already.
        fdr: the share of false ones that a list of named examples may hold in expectation.
    """

    results: tuple[RunResult, ...]
    baseline: str | None = None
    sort: str | None = None
    records: bool = False
    gates: tuple[GateFinding, ...] = ()
    known: Sequence[Row] | None = None
    fdr: float = FDR

    @cached_property
    def rows(self) -> Sequence[Row]:
        """One for each run, subject and level; those that failed altogether at the end.

        Raises:
            RecipeError: the order is not known.
        """
        return shown(self._compared, self.sort)

    @cached_property
    def _compared(self) -> Sequence[Row]:
        """The same in run order; it takes time, and so is made once."""
        return compare(self.results, self.baseline) if self.known is None else self.known

    @property
    def audited(self) -> list[Row]:
        """The rows of which something is known."""
        return [row for row in self.rows if "" not in row.failed]

    @property
    def attacks(self) -> list[str]:
        """Labels of all attacks that told something, the strongest first, by their mean AUC."""
        aucs: dict[str, list[float]] = {}
        for row in self.audited:
            for label, attack in row.attacks.items():
                auc = attack.metrics["auc"]
                aucs.setdefault(label, []).extend([] if auc is None else [auc.mean])
        return sorted(aucs, key=lambda label: -sum(aucs[label]) / max(len(aucs[label]), 1))

    @cached_property
    def explanation(self) -> Explanation:
        """Sparsity, accuracy and privacy told apart, and who is exposed."""
        return explain(self.results, self.baseline, rows=self._compared, fdr=self.fdr)

    @cached_property
    def plugins(self) -> Plugins:
        """What is installed where the page is made."""
        return load_plugins()

    @property
    def named(self) -> list[tuple[str, RunResult]]:
        """The runs with their names, numbered where several share one."""
        return list(zip(run_names(self.results), self.results, strict=True))

    @property
    def several(self) -> bool:
        """Whether there is more than one run, so that each has to be named."""
        return len(self.results) > 1
