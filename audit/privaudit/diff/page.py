"""A diff as one page for a browser, written by the template of a report's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from privaudit.diff.columns import attack_columns, change_words, network_columns, shown
from privaudit.diff.fail_if import Finding
from privaudit.diff.sentences import legend, lone_lines, nothing_else, significance
from privaudit.diff.text import SAME_RUN
from privaudit.diff.values import Diff
from privaudit.page.blocks import Block, Card, Cards, Points, Section, Table, Tone
from privaudit.page.words import CELLS, sentence
from privaudit.page.written import written
from privaudit.report.columns import Column


def as_html(found: Diff, notes: Sequence[str] = (), conditions: Sequence[Finding] = ()) -> str:
    """The page: no script, no request, light and dark.

    Args:
        found: what differs.
        notes: doubts and failures of the runs.
        conditions: what `--fail-if` came to.
    """
    made = [
        Section(name, title, tuple(blocks))
        for name, title, blocks in _parts(found, notes, conditions)
    ]
    runs = [f"A: {sentence(found.a)}", f"B: {sentence(found.b)}"]
    return written(
        "Two runs against one another",
        [section for section in made if section.blocks],
        subtitle=runs,
        footer="This page holds numbers about groups of examples, and no single record.",
    )


def _parts(
    found: Diff, notes: Sequence[str], conditions: Sequence[Finding]
) -> Iterator[tuple[str, str, list[Block]]]:
    yield "verdict", "In short", [Cards(tuple(_cards(found, notes, conditions)))]
    if found.same_run:
        return
    yield "changes", "What the runs were made from", _changes(found)
    if found.networks:
        table = _table(
            "Test accuracy in A and in B", "network", network_columns(found.networks, CELLS)
        )
        yield "networks", "Accuracy of the networks", [table]
    if found.rows and shown(found):
        table = _table(
            "B minus A, with its 95 % interval", "network / attack", attack_columns(found, CELLS)
        )
        signs = Points("How to read these numbers", tuple(("", sentence(x)) for x in legend(found)))
        yield "attacks", "What the attacks find", [table, signs]
    lone = tuple(("", sentence(line)) for line in lone_lines(found))
    if lone:
        yield "lone", "What only one run has", [Points("Not compared", lone)]


def _cards(found: Diff, notes: Sequence[str], conditions: Sequence[Finding]) -> Iterator[Card]:
    said = SAME_RUN if found.same_run else significance(found)
    yield Card("Do the two runs differ?", (sentence(said),), wide=True)
    if not found.same_run:
        parts = dict.fromkeys(change.section for change in found.changes)
        told = [f"They differ in: {', '.join(parts)}."] if parts else []
        told += [text for text in (nothing_else(found), *found.untold) if text]
        yield Card("Were they made alike?", tuple(map(sentence, told)), more="changes")
    if conditions:
        lines = tuple(sentence(line) for one in conditions for line in one.sentences())
        untold = not any(one.rows for one in conditions)
        failed = any(one.failed for one in conditions)
        answer = ("cannot be told" if untold else "no") if failed else "yes"
        tone: Tone = "plain" if not failed else "open" if untold else "bad"
        yield Card("Do the conditions pass?", lines, answer, tone)
    if notes:
        yield Card("How sure is that?", tuple(map(sentence, notes)), "doubts or failures", "open")


def _changes(found: Diff) -> list[Block]:
    rows = tuple(change_words(change, CELLS) for change in found.changes)
    if not rows:
        return []
    return [Table("Where they differ", ("part", "what", "A", "B"), rows, words=4)]


def _table(caption: str, heading: str, columns: Sequence[Column]) -> Table:
    """Numbers, after one column that holds all names of a row: a phone has no room for three."""
    names = [column for column in columns if column.kind == "name"]
    numbers = [column for column in columns if column.kind != "name"]
    count = len(columns[0].cells)
    return Table(
        caption,
        (heading, *(" ".join(column.heading) for column in numbers)),
        tuple(
            (
                " / ".join(filter(None, (column.cells[row].strip() for column in names))),
                *(column.cells[row].strip() for column in numbers),
            )
            for row in range(count)
        ),
    )
