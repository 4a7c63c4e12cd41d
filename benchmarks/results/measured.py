"""From a finished run to all that its page says, and the pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.results import machine
from benchmarks.results.asked import changes_of, placed, question, resolved
from benchmarks.results.counted import engine_digests, page_digests, plugin_digests
from benchmarks.results.proof import check_plugins
from benchmarks.results.record import (
    FORMAT,
    Arithmetic,
    Drawing,
    Record,
    Table,
    checked,
    short_digest,
)
from benchmarks.results.settings import Shown, shown
from benchmarks.results.sources import ROOT, Sources, full_name, here, of_commit
from privaudit.errors import StoreError
from privaudit.figures import kinds
from privaudit.figures.svg import svg
from privaudit.report import compare
from privaudit.report.choose import default_metrics, means_only, pick_attacks, pick_metrics
from privaudit.report.columns import MARKDOWN, Column, attack_columns, columns
from privaudit.report.differences import adjusted
from privaudit.report.doubtful import doubt_lines
from privaudit.report.escape import plain
from privaudit.report.formats import as_json
from privaudit.report.leaves import facts
from privaudit.report.legend import legend
from privaudit.report.rows import Row
from privaudit.report.verdict import sentences_of
from privaudit.store.record import RESULT
from privaudit.store.result import RunResult, load_run

_RECORDED = ("device", "processes", "threads", "torch", "python")
_OURS = "privaudit"
_CHANGED = "-dirty"


@dataclass(frozen=True)
class Told:
    """What the caller knows of a run and the run does not.

    Attributes:
        commit: that made it; empty: the one that it recorded.
        date: of its end, YYYY-MM-DD; empty: when its result.json was written.
        elsewhere: whether another machine than this one made it.
    """

    commit: str = ""
    date: str = ""
    elsewhere: bool = False


def measured(folder: Path, told: Told, root: Path = ROOT) -> tuple[Record, Mapping[str, bytes]]:
    """The record of a run's page, and the figures by the names of their files.

    Args:
        folder: of the run.
        told: what only the caller knows.
        root: of the repository.

    Raises:
        PrivauditError: the run is not finished, or damaged; its commit is not known, or does not
            hold its recipe or its plugins.
    """
    run = load_run(folder)
    commit, changed = _commit(run, told, root)
    sources = of_commit(commit, root)
    ours, _ = _plugins(run)
    check_plugins(ours, sources, commit)
    changes = changes_of(sources, run.name, run.recipe)
    what = shown(run.name)
    every = compare([run])
    rows = _picked(every, what)
    drawn = _drawn(run, every, what)
    record = Record(
        format=FORMAT,
        name=run.name,
        question=question(sources, run.name),
        changes=changes,
        commit=commit,
        changed=changed,
        date=told.date or _date(folder),
        seconds=run.environment.get("seconds"),
        machine=_machine(run, told),
        sentences=tuple(sentences_of(every, [run])),
        tables=tuple(_tables(rows, what)),
        legend=tuple(_legend(run, rows, what)),
        drawings=tuple(drawing for drawing, _ in drawn),
        numbers=_numbers(rows, what),
        arithmetic=_arithmetic(run, sources),
    )
    return record, {drawing.file: content for drawing, content in drawn}


def _commit(run: RunResult, told: Told, root: Path) -> tuple[str, str]:
    """The commit, and what the run recorded where its checkout had changes.

    Raises:
        StoreError: it cannot be told, or the run says otherwise.
    """
    recorded = str(run.environment.get("git") or "")
    changed = recorded if recorded.endswith(_CHANGED) else ""
    if not told.commit:
        if not recorded or changed:
            raise StoreError(
                f"the run {plain(run.name)} does not know the commit that made it ("
                f"{plain(recorded) or 'nothing recorded'}): name it by --commit"
            )
        return full_name(recorded, root), ""
    commit = full_name(told.commit, root)
    if recorded and not changed and full_name(recorded, root) != commit:
        raise StoreError(
            f"--commit {plain(told.commit)}: the run {plain(run.name)} was made by "
            f"{plain(recorded)}, as it recorded itself; leave --commit out"
        )
    return commit, changed


def _date(folder: Path) -> str:
    return datetime.fromtimestamp((folder / RESULT).stat().st_mtime, UTC).date().isoformat()


def _machine(run: RunResult, told: Told) -> dict[str, str | int]:
    recorded = {key: run.environment[key] for key in _RECORDED if run.environment.get(key)}
    return ({} if told.elsewhere else machine.here()) | recorded


def _picked(rows: Sequence[Row], what: Shown) -> list[Row]:
    """The rows of a report with these attacks alone, of the comparisons that it would make."""
    if not what.attacks:
        return list(rows)
    there = [row for row in rows if "" not in row.failed]
    failed = [row for row in rows if "" in row.failed]
    return [*adjusted(pick_attacks(there, list(what.attacks))), *failed]


def _metrics(rows: Sequence[Row], what: Shown) -> list[str]:
    """All that any attack shows, in the order of the table of metrics."""
    wanted = dict.fromkeys(name for names in what.attacks.values() for name in names)
    return pick_metrics(list(wanted), default_metrics(rows))


def _tables(rows: Sequence[Row], what: Shown) -> list[Table]:
    """One table; of a single row, one of its network and one with a line for each attack."""
    rows = means_only(rows) if what.means else rows
    metrics = _metrics(rows, what)
    wanted = [column for column in columns(rows, metrics, MARKDOWN) if _is_wanted(column, what)]
    if len(rows) > 1 or rows[0].failed:
        return [_table(wanted)]
    network = [column for column in wanted if column.kind != "attack"]
    return [_table(network), _table(attack_columns(rows[0], metrics, MARKDOWN))]


def _is_wanted(column: Column, what: Shown) -> bool:
    chosen = {MARKDOWN.escape(label): names for label, names in what.attacks.items()}
    return column.kind != "attack" or not chosen or column.name in chosen.get(column.group, ())


def _table(every: Sequence[Column]) -> Table:
    heads = [": ".join(filter(None, [one.group, " ".join(one.heading)])) for one in every]
    rows = zip(*(map(str.strip, column.cells) for column in every), strict=True)
    return Table(tuple(heads), sum(one.kind == "name" for one in every), tuple(rows))


def _legend(run: RunResult, rows: Sequence[Row], what: Shown) -> list[str]:
    rows = means_only(rows) if what.means else rows
    told = legend(rows, _metrics(rows, what), MARKDOWN)
    return [*told, *doubt_lines([run], MARKDOWN.escape)]


def _drawn(run: RunResult, rows: Sequence[Row], what: Shown) -> list[tuple[Drawing, bytes]]:
    made = []
    for kind, attack, metric in what.figures:
        known = rows if kinds.KINDS[kind].compares else None
        chosen = {"attack": attack or None, "metric": metric or None}
        figures = kinds.figure([run], kind, rows=known, **chosen)
        for number, one in enumerate(figures):
            file = f"{run.name}-{kind}{f'-{number + 1}' * (len(figures) > 1)}.svg"
            content = checked(svg(one, caption=True).encode() + b"\n", file)
            made.append((Drawing(file, short_digest(content), one.title, one.alternative), content))
    return made


def _numbers(rows: Sequence[Row], what: Shown) -> list[dict[str, Any]]:
    numbers: list[dict[str, Any]] = json.loads(as_json(rows, _metrics(rows, what)))["rows"]
    return numbers


def _plugins(run: RunResult) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """What the run recorded of built-in plugins, and the names of all others."""
    used = run.environment.get("plugins", [])
    others = [f"{one['kind']} {one['name']}" for one in used if one["distribution"] != _OURS]
    return [one for one in used if one["distribution"] == _OURS], tuple(others)


def _arithmetic(run: RunResult, sources: Sources) -> Arithmetic:
    _, foreign = _plugins(run)
    known = facts(run)
    return Arithmetic(
        engine=engine_digests(sources),
        page=page_digests(here()),
        plugins={} if foreign else plugin_digests(sources, run.recipe),
        foreign=foreign,
        recipe=placed(run.recipe, resolved(sources, run.name)),
        data={path[1]: str(value) for path, value in known.items() if path[0] == "data"},
    )
