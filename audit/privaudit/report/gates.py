"""Gates held against finished runs: every attack on every row, as `audit` holds one network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privaudit.doubts.doubt import Doubt, in_doubt, still_open
from privaudit.gate import Gate, Told, judge
from privaudit.report.names import run_names
from privaudit.report.verdict.words import listed
from privaudit.store.result import AuditResult, RunResult

Key = tuple[str, str, str]
"""Subject, level and attack."""

_PAIRS = "pairs of network and attack"
_GRAVITY: tuple[Told, ...] = ("broken", "cannot be told", "kept")


@dataclass(frozen=True)
class GateRow:
    """One attack on one row of a report, held against a gate.

    Attributes:
        run: the run's name.
        subject: label of the subject.
        level: label of the level.
        attack: label of the attack; empty where all of them failed.
        told: one of three answers. Each network of the row has to keep the gate by itself.
        why: the limit that the worst network reached, or why that cannot be told.
        reached: that limit; None where it is not known.
    """

    run: str
    subject: str
    level: str
    attack: str
    told: Told
    why: str
    reached: float | None = None

    def name(self, several: bool) -> str:
        """What it is about, with its run where there are several."""
        row = f"{self.subject} / {self.level}" if self.level else self.subject
        row = f"{self.run}: {row}" if several else row
        return f"{self.attack} on {row}" if self.attack else row


@dataclass(frozen=True)
class GateFinding:
    """A gate held against all rows of a report.

    Attributes:
        gate: which one.
        rows: every attack on every row, and what failed.
        several: whether they are of several runs.
    """

    gate: Gate
    rows: tuple[GateRow, ...]
    several: bool = False

    @property
    def told(self) -> Told:
        """The gravest answer of a row; where nothing was audited nothing can be told."""
        answers = {row.told for row in self.rows} or {"cannot be told"}
        return next(answer for answer in _GRAVITY if answer in answers)

    @property
    def failed(self) -> bool:
        """Whether it stops a release: only what is kept everywhere does not."""
        return self.told != "kept"

    def sentences(self) -> list[str]:
        """One line for all that is kept, or for all that is not, and for each reason."""
        opening, count = f"gate {self.gate.text}:", len(self.rows)
        if not self.rows:
            return [f"{opening} CANNOT BE TOLD, because nothing was audited"]
        broken = [row for row in self.rows if row.told == "broken"]
        lines = []
        if broken:
            worst = self._worst(broken)
            names = listed([f"{row.name(self.several)} ({_limit(row.why)})" for row in worst])
            sample = "".join(worst[0].why.partition("; ")[1:])
            lines.append(f"{opening} BROKEN for {len(broken)} of {count} {_PAIRS}: {names}{sample}")
        untold: dict[str, list[str]] = {}
        for row in self.rows:
            if row.told == "cannot be told":
                untold.setdefault(row.why, []).append(row.name(self.several))
        for why, names_of in untold.items():
            where = f"for {len(names_of)} of {count} {_PAIRS} ({listed(names_of)})"
            lines.append(f"{opening} CANNOT BE TOLD {where}, because {why}")
        caveat = self.gate.judged.caveat
        word = "not disproved" if caveat else "kept"
        kept = f"{opening} {word} by all {count} {_PAIRS}" + (f"; {caveat}" if caveat else "")
        return lines or [kept]

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "gate": self.gate.text,
            "told": self.told,
            "failed": self.failed,
            "rows": [vars(row) for row in self.rows],
        }

    def _worst(self, rows: Sequence[GateRow]) -> list[GateRow]:
        sign = -1 if self.gate.side == "upper" else 1
        return sorted(rows, key=lambda row: sign * (0.0 if row.reached is None else row.reached))


def judge_runs(
    gates: Sequence[Gate], results: Sequence[RunResult], accepted: Sequence[str] = ()
) -> list[GateFinding]:
    """Hold gates against every attack on every network of finished runs.

    What failed breaks no gate and keeps none: of it nothing can be told.

    Args:
        gates: the limits.
        results: the runs.
        accepted: names of doubts that the user accepts; every other one of a run is open for all
            of its rows.
    """
    named = list(zip(run_names(results), results, strict=True))
    return [
        GateFinding(
            gate,
            tuple(row for run, result in named for row in _rows(gate, run, result, accepted)),
            len(results) > 1,
        )
        for gate in gates
    ]


def _rows(gate: Gate, run: str, result: RunResult, accepted: Sequence[str]) -> Iterator[GateRow]:
    opened = still_open(result.doubts, accepted)
    audits: dict[Key, list[AuditResult]] = {}
    for audit in result.audits:
        audits.setdefault((audit.subject, audit.level, audit.attack), []).append(audit)
    failures: dict[Key, str] = {}
    for failure in result.failures:
        key = failure.subject, failure.level, failure.attack
        failures.setdefault(key, f"it failed: {failure.sentence}")
    for key, of_key in audits.items():
        told, why, reached = _judged(gate, of_key, opened)
        if key in failures and told == "kept":  # on another network of the row
            told, why = "cannot be told", failures[key]
        yield GateRow(run, *key, told, why, reached)
    for key, why in failures.items():
        if key not in audits:
            yield GateRow(run, *key, "cannot be told", why)


def _judged(
    gate: Gate, audits: Sequence[AuditResult], opened: Sequence[Doubt]
) -> tuple[Told, str, float | None]:
    """Whether every network keeps a gate, by the words of `privaudit audit`."""
    verdict = judge(gate, _by_network(audits), opened)
    why = verdict.because()
    if verdict.told == "cannot be told" and verdict.reached is not None:
        why = f"the run is {in_doubt(verdict.doubts)}"
    return verdict.told, why, verdict.reached


def _limit(why: str) -> str:
    """The limit and its network, without what is said about the sample."""
    return re.sub(r" \((seed [^)]*)\)$", r", \1", why.partition("; ")[0])


def _by_network(audits: Sequence[AuditResult]) -> Mapping[str, Mapping[str, Any]]:
    """The metrics of each network, by what it is called."""
    targets = any(audit.target for audit in audits)
    return {
        f"seed {audit.seed}, target {audit.target}" if targets else f"seed {audit.seed}": (
            audit.metrics
        )
        for audit in audits
    }
