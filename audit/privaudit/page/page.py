"""The page: values of all views, written by one template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from privaudit.page.findings import Findings
from privaudit.page.views import sections
from privaudit.page.words import name
from privaudit.report.escape import plain
from privaudit.store.result import RunResult


def page(
    results: Sequence[RunResult],
    *,
    baseline: str | None = None,
    sort: str | None = None,
    records: bool = False,
) -> str:
    """A report as one HTML page that opens offline, without a script or a request.

    It holds aggregates only, unless single records are asked for.

    Args:
        results: the runs, in the order of the page.
        baseline: SUBJECT or SUBJECT/LEVEL that changes are measured against; without, each run's
            first row.
        sort: one of `report.choose.ORDERS`; without, run order.
        records: show the most exposed examples, too.

    Raises:
        RecipeError: the baseline or the order is not known.
        StoreError: a run's scores are damaged.
    """
    findings = Findings(tuple(results), baseline, sort, records)
    names = [name(run) for run, _ in findings.named]
    return _template().render(
        title=", ".join(names), sections=sections(findings), records=findings.records
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_one_line,
    )
    text = resources.files("privaudit.page").joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(text)


def _one_line(value: object) -> object:
    """What the template writes: no word carries what a browser, an editor or a terminal obeys."""
    return plain(value) if type(value) is str else value
