"""The page of a report: all views of its runs."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.explain.discoveries import FDR
from privaudit.page.findings import Findings
from privaudit.page.views import sections
from privaudit.page.words import name
from privaudit.page.written import written
from privaudit.report.gates import GateFinding
from privaudit.report.rows import Row
from privaudit.store.result import RunResult


def page(
    results: Sequence[RunResult],
    *,
    baseline: str | None = None,
    sort: str | None = None,
    records: bool = False,
    rows: Sequence[Row] | None = None,
    gates: Sequence[GateFinding] = (),
    fdr: float = FDR,
) -> str:
    """A report as one HTML page that opens offline, without a script or a request.

    It holds aggregates only, unless single records are asked for.

    Args:
        results: the runs, in the order of the page.
        baseline: SUBJECT or SUBJECT/LEVEL that changes are measured against; without, each run's
            first row.
        sort: one of `report.choose.ORDERS`; without, run order.
        records: show the most exposed examples, too.
        rows: what `report.compare` makes of the runs and the baseline, where that is known
            already: it takes time.
        gates: what `report.gates.judge_runs` found, to be shown beside the verdict.
        fdr: the share of false ones that a list of named examples may hold in expectation.

    Raises:
        RecipeError: the baseline or the order is not known.
        StoreError: a run's scores are damaged.
    """
    findings = Findings(tuple(results), baseline, sort, records, tuple(gates), rows, fdr)
    names = [name(run) for run, _ in findings.named]
    return written(
        f"Privacy audit: {', '.join(names)}",
        sections(findings),
        subtitle=["Does a network tell who was in its training data?"],
        footer=_RECORDS if findings.records else _AGGREGATES,
    )


_AGGREGATES = "This page holds numbers about groups of examples, and no single record."
_RECORDS = "This page names single records: keep it as you keep the training data."
