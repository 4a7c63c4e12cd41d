"""Gates held against finished runs: every attack on every row, as `audit` holds one network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privaudit.doubts.doubt import Doubt, in_doubt, still_open
from privaudit.gate import Gate, Told, judge
from privaudit.report.evidence import Evidence
from privaudit.report.gating.asked import COMMAND, accepted_in, asked
from privaudit.report.gating.means import judge_mean
from privaudit.report.names import run_names
from privaudit.report.verdict.words import few, listed
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
        told: one of three answers. Each network of the row has to keep the gate by itself, or,
            where the gate says so, their mean.
        why: the limit that the worst network reached, or the mean, or why that cannot be told.
        reached: that limit; None where it is not known.
    """

    run: str
    subject: str
    level: str
    attack: str
    told: Told
    why: str
    reached: float | None = None

    def where(self, several: bool) -> str:
        """The row that it is about, with its run where there are several."""
        row = f"{self.subject} / {self.level}" if self.level else self.subject
        return f"{self.run}: {row}" if several else row

    def name(self, several: bool) -> str:
        """The row, and the attack on it."""
        return f"{self.attack} on {self.where(several)}" if self.attack else self.where(several)


@dataclass(frozen=True)
class _Part:
    """What is told of some pairs: all of it, or the pairs and why that is, or what follows."""

    head: str
    names: Sequence[str] = ()
    why: str = ""
    after: str = ""

    def sentence(self) -> str:
        after = f"; {self.after}" if self.after else ""
        if self.why:
            return f"{self.head} ({listed(self.names)}), because {self.why}"
        return f"{self.head}: {listed(self.names)}{after}" if self.names else self.head

    def lines(self) -> list[str]:
        if len(self.names) < 2:
            return [self.sentence()]
        head = f"{self.head}, because {self.why}:" if self.why else f"{self.head}:"
        return [head, *(f"    {name}" for name in [*few(self.names), *filter(None, [self.after])])]


@dataclass(frozen=True)
class GateFinding:
    """A gate held against all rows of a report that it is about.

    Attributes:
        gate: which one.
        rows: every attack on every row, what failed, and what is named and not there.
        several: whether they are of several runs.
        sources: where the gate comes from: the command line, a recipe, or both.
    """

    gate: Gate
    rows: tuple[GateRow, ...]
    several: bool = False
    sources: tuple[str, ...] = (COMMAND,)

    @property
    def told(self) -> Told:
        """The gravest answer of a row; where nothing was audited nothing can be told."""
        answers = {row.told for row in self.rows} or {"cannot be told"}
        return next(answer for answer in _GRAVITY if answer in answers)

    @property
    def failed(self) -> bool:
        """Whether it stops a release: only what is kept everywhere does not."""
        return self.told != "kept"

    @property
    def opening(self) -> str:
        """How every sentence about it begins."""
        whose = "" if self.sources == (COMMAND,) else f" ({' and '.join(self.sources)})"
        return f"gate {self.gate.title}{whose}:"

    def sentences(self) -> list[str]:
        """One line for all that is kept, or for all that is not, and for each reason."""
        return [part.sentence() for part in self._parts()]

    def lines(self) -> list[str]:
        """The same for a terminal: of several pairs, each has a line of its own."""
        return [line for part in self._parts() for line in part.lines()]

    def _parts(self) -> list[_Part]:
        opening, count = self.opening, len(self.rows)
        if not self.rows:
            return [_Part(f"{opening} CANNOT BE TOLD, because nothing was audited")]
        broken = [row for row in self.rows if row.told == "broken"]
        parts = []
        if broken:
            worst = self._worst(broken)
            names = [f"{row.name(self.several)} ({_limit(row.why)})" for row in worst]
            sample = worst[0].why.partition("; ")[2]
            head = f"{opening} BROKEN for {len(broken)} of {count} {_PAIRS}"
            parts.append(_Part(head, names, after=sample))
        untold: dict[str, list[str]] = {}
        for row in self.rows:
            if row.told == "cannot be told":
                untold.setdefault(row.why, []).append(row.name(self.several))
        for why, names_of in untold.items():
            head = f"{opening} CANNOT BE TOLD for {len(names_of)} of {count} {_PAIRS}"
            parts.append(_Part(head, names_of, why))
        caveat = self.gate.caveat
        word = "not disproved" if self.gate.judged.caveat else "kept"
        who = f"all {count} {_PAIRS}" if count > 1 else "the one pair of network and attack"
        kept = f"{opening} {word} by {who}" + (f"; {caveat}" if caveat else "")
        return parts or [_Part(kept)]

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "gate": self.gate.text,
            "over": "the mean of a row" if self.gate.mean else "each network",
            "subjects": self.gate.subjects,
            "attacks": self.gate.attacks,
            "sources": self.sources,
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
    """Hold gates, and those of the runs' recipes, against the networks of finished runs.

    What failed breaks no gate and keeps none: of it nothing can be told.

    Args:
        gates: the limits, beside those that a run's own recipe sets.
        results: the runs.
        accepted: names of doubts that the user accepts, beside those of a run's recipe; every other
            one of a run is open for all of its rows.

    Raises:
        StoreError: a run's scores are damaged, or its recipe holds what is no gate.
    """
    runs = [
        _Run(name, Evidence(result), still_open(result.doubts, [*accepted_in(result, accepted)]))
        for name, result in zip(run_names(results), results, strict=True)
    ]
    return [
        GateFinding(
            one.gate,
            tuple(row for number in one.runs for row in _rows(one.gate, runs[number])),
            len(results) > 1,
            one.sources,
        )
        for one in asked(gates, results)
    ]


@dataclass(frozen=True)
class _Run:
    """A run under its name, with the doubts that are open."""

    name: str
    evidence: Evidence
    opened: Sequence[Doubt]


def _rows(gate: Gate, run: _Run) -> Iterator[GateRow]:
    audits: dict[Key, list[AuditResult]] = {}
    for audit in run.evidence.result.audits:
        key = audit.subject, audit.level, audit.attack
        if gate.covers(*key):
            audits.setdefault(key, []).append(audit)
    failures: dict[Key, str] = {}
    for failure in run.evidence.result.failures:
        key = failure.subject, failure.level, failure.attack
        if gate.covers_failure(*key):
            failures.setdefault(key, f"it failed: {failure.sentence}")
    for key, of_key in audits.items():
        told, why, reached = _judged(gate, of_key, run)
        if key in failures and told == "kept":  # on another network of the row
            told, why = "cannot be told", failures[key]
        yield GateRow(run.name, *key, told, why, reached)
    for key, why in failures.items():
        if key not in audits:
            yield GateRow(run.name, *key, "cannot be told", why)
    yield from _missing(gate, run.name, [*audits, *failures])


def _missing(gate: Gate, run: str, keys: Sequence[Key]) -> Iterator[GateRow]:
    """What a gate names and the run has not: a name that is wrong must not pass for kept."""
    subjects = {name for subject, level, _ in keys for name in (subject, f"{subject}/{level}")}
    attacks = {attack for *_, attack in keys}
    for subject in gate.subjects:
        if subject not in subjects:
            yield GateRow(run, subject, "", "", "cannot be told", "there is no audit of it")
    for attack in gate.attacks if "" not in attacks else ():
        if attack not in attacks:
            yield GateRow(run, "any subject", "", attack, "cannot be told", "there is no audit")


def _judged(gate: Gate, audits: Sequence[AuditResult], run: _Run) -> tuple[Told, str, float | None]:
    """Whether every network keeps a gate, or their mean, by the words of `privaudit audit`."""
    verdict = judge(gate, _by_network(audits), run.opened)
    if gate.mean and verdict.reached is not None:
        attacked = run.evidence.attacked(audits[0], audits[0].attack)
        verdict = judge_mean(gate, attacked, run.opened)
    why = verdict.because()
    if verdict.doubted:
        why = f"the run is {in_doubt(verdict.doubts)}"
    elif verdict.sample:
        why = verdict.sample
    return verdict.told, why, verdict.reached


def _limit(why: str) -> str:
    """The limit and its network, without what is said about the sample."""
    return re.sub(r" \(((?:seed|mean of) [^)]*)\)$", r", \1", why.partition("; ")[0])


def _by_network(audits: Sequence[AuditResult]) -> Mapping[str, Mapping[str, Any]]:
    """The metrics of each network, by what it is called."""
    targets = any(audit.target for audit in audits)
    return {
        f"seed {audit.seed}, target {audit.target}" if targets else f"seed {audit.seed}": (
            audit.metrics
        )
        for audit in audits
    }
