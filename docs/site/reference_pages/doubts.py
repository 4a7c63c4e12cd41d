"""The page of doubts, from their table."""

from __future__ import annotations

from privaudit.doubts.doubt import DOUBTS
from reference_pages.markdown import code, joined, made_from, table

_INTRO = """\
A doubt is something seen in the numbers of an audit that could turn its verdict round: what is
doubted passes no gate. It stands below the report, in `result.json`, and in what `privaudit audit`
prints, with what was seen, what it may come from, and what to do. Clear it up; or, where you know
that it does not matter, let gates pass by `--accept-doubt NAME`, which the output records."""


def page() -> str:
    """The whole page."""
    rows = ((code(name), meaning) for name, meaning in DOUBTS.items())
    return joined(
        made_from("the table in privaudit.doubts"),
        "# Doubts",
        ["", _INTRO, ""],
        table(("doubt", "what was seen"), rows),
    )
