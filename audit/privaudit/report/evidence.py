"""What a run knows about its numbers beyond the numbers: who was audited, and what each adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privaudit.report.leaves import Leaves, data_of
from privaudit.statistics.inference import Audit, PerExample
from privaudit.statistics.intervals import Estimate
from privaudit.statistics.metric import Metric
from privaudit.store.result import AuditResult, RunResult
from privaudit.store.scores import RunArrays


@dataclass(frozen=True)
class Audited:
    """The n examples of one audit.

    Attributes:
        examples: (n,) int64: rows of the dataset.
        values: their scores, membership and the attacker's verdicts.
    """

    examples: NDArray[np.int64]
    values: PerExample


class Level(Protocol):
    """A row, or an audit of one."""

    @property
    def subject(self) -> str:
        """Label of the subject."""
        ...

    @property
    def level(self) -> str:
        """Label of the level."""
        ...


class Evidence:
    """A run's audits as `statistics.inference` takes them.

    Where the run has no scores.npz, or an older one, its numbers remain, and of what they share no
    more is known than the recipe says.

    Attributes:
        result: the run.
        shared: whether the recipe says that all seeds audit the same examples in the same roles:
            a split of one seed, or a target that is given.
    """

    def __init__(self, result: RunResult) -> None:
        self.result = result
        split = result.recipe.get("split")
        one_split = isinstance(split, dict) and split.get("seed") is not None
        self.shared = one_split or result.recipe.get("target") is not None
        self._arrays = RunArrays(result.folder)
        self._networks: dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        self._numbers: dict[tuple[str, str, str], list[int]] = {}
        for number, audit in enumerate(result.audits):
            key = audit.subject, audit.level, audit.attack
            self._numbers.setdefault(key, []).append(number)

    @cached_property
    def data(self) -> Leaves:
        """Checksums of the run's data; empty where it has not kept them."""
        return data_of(self.result)

    def attacked(self, level: Level, attack: str) -> Attacked:
        """One attack on one level."""
        return Attacked(self, tuple(self._numbers[level.subject, level.level, attack]))

    def non_members(self, audit: AuditResult) -> int | None:
        """How many of the examples that a target is audited on are no members; None: not kept.

        Raises:
            StoreError: the scores are damaged.
        """
        name = f"member_{audit.seed}_{audit.target}"
        if name not in self._arrays.names:
            return None
        return int((~self._arrays.read(name).astype(np.bool_)).sum())

    def read(self, number: int) -> Audited | None:
        """What was kept of the examples of an audit, by its number.

        Raises:
            StoreError: the scores are damaged.
        """
        arrays, audit = self._arrays, self.result.audits[number]
        whose = f"{audit.seed}_{audit.target}"
        if not {f"example_{whose}", f"member_{whose}", f"score_{number}"} <= arrays.names:
            return None
        examples, member = self._network(whose)
        score = arrays.read(f"score_{number}", len(examples)).astype(np.float64)
        decision = arrays.find(f"decision_{number}", len(examples))
        kept = ~np.isnan(score)  # the rest is left out of the metrics, too
        verdicts = None if decision is None else decision.astype(np.bool_)[kept]
        return Audited(examples[kept], PerExample(score[kept], member[kept], verdicts))

    def _network(self, whose: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Whom a network is audited on, read once for all attacks on all of its levels."""
        if whose not in self._networks:
            examples = self._arrays.read(f"example_{whose}").astype(np.int64)
            member = self._arrays.read(f"member_{whose}", len(examples)).astype(np.bool_)
            self._networks[whose] = examples, member
        return self._networks[whose]


@dataclass(frozen=True)
class Attacked:
    """One attack on one level of a run.

    Attributes:
        evidence: of the run.
        numbers: which of its audits.
    """

    evidence: Evidence
    numbers: tuple[int, ...]

    @cached_property
    def examples(self) -> list[Audited] | None:
        """What was kept of each audit; None unless it was kept of all."""
        read = [self.evidence.read(number) for number in self.numbers]
        kept = [audited for audited in read if audited is not None]
        return kept if len(kept) == len(read) else None

    @property
    def results(self) -> list[AuditResult]:
        """What the audits found."""
        return [self.evidence.result.audits[number] for number in self.numbers]

    def has_intervals(self, metric: Metric) -> bool:
        """Whether every audit has an interval of that metric."""
        return all(metric.interval_of(result.metrics) is not None for result in self.results)

    def audits(self, metric: Metric) -> list[Audit] | None:
        """One number of each audit; None where one of them lacks it.

        Where an audit has no interval of it, its limits are the number itself.
        """
        results = self.results
        nothing: list[Audited | None] = [None] * len(results)
        audits = []
        for result, audited in zip(results, self.examples or nothing, strict=True):
            estimate = _estimate(metric, result)
            if estimate is None:
                return None
            if audited is None:
                audits.append(Audit(result.seed, result.target, estimate))
                continue
            influence = metric.influence and metric.influence(audited.values)
            members = audited.values.members
            audits.append(
                Audit(result.seed, result.target, estimate, audited.examples, members, influence)
            )
        return audits


def _estimate(metric: Metric, audit: AuditResult) -> Estimate | None:
    value = metric.read(audit.metrics)
    if isinstance(value, dict):
        value = value["value"]
    if value is None:
        return None
    low, high = metric.interval_of(audit.metrics) or (value, value)
    return Estimate(float(value), min(low, value), max(high, value))
