"""What a report shows: rows of means, one for each run, subject and level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from privaudit.api.kinds.promise import Promise
from privaudit.statistics.inference import Difference
from privaudit.statistics.inference.difference import Over

Change = Literal["better", "worse"]


@dataclass(frozen=True)
class Summary:
    """One number over the audits of a row.

    Attributes:
        mean: over seeds and targets.
        std: standard deviation over them (n - 1); None with a single audit.
        low: lower 95 % limit of the mean, where each audit has an interval.
        high: upper limit.
    """

    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None


LEVEL = 0.05
"""What is significant has an adjusted p-value below it."""

UNEQUAL = 0.01
"""Mean test accuracies further apart than this are not called equal."""


@dataclass(frozen=True)
class Comparison:
    """A row's paired difference from its baseline, tested.

    Attributes:
        metric: name of the metric.
        value: mean of here minus the baseline, over pairs of one seed and target.
        low: lower 95 % limit, of this comparison alone.
        high: upper limit.
        p: two-sided, of this comparison alone.
        pairs: how many seeds and targets both rows have.
        over: what the test is over: seeds, the targets of one seed, or the examples of one pair.
        adjusted: the p-value among all comparisons of the report (Holm).
        comparisons: how many those are.
    """

    metric: str
    value: float
    low: float
    high: float
    p: float
    pairs: int
    over: Over
    adjusted: float
    comparisons: int = 1

    @classmethod
    def of(cls, difference: Difference, metric: str) -> Comparison:
        """The comparison, not yet adjusted."""
        return cls(metric, **vars(difference), adjusted=difference.p)

    @property
    def significant(self) -> bool:
        """Whether it stands among all that the report compares."""
        return self.adjusted < LEVEL


@dataclass(frozen=True)
class AttackSummary:
    """What one attack found about one row.

    Attributes:
        metrics: by the names of `statistics.table`; None where an audit cannot tell.
        audits: how many there are.
        by_example: whether it is known which examples they share.
        change: of the metric whose changes are marked, against the baseline's, where the paper's
            rule holds: mean ± std do not meet.
        comparison: of the same metric, tested; None for the baseline itself, and where there is
            nothing to test.
        mute: whether it says nothing in every audit, as `doubts.attacks.mute` has it.
        one_verdict: in how many audits its verdict on all examples is the same, or nearly all.
        left_out: the audited rows that it could not score, of the audit with the most of them.
        lacks: what those rows lack; empty where the attack does not say.
        offline: likewise those it scored without shadows that were trained on them.
    """

    metrics: Mapping[str, Summary | None]
    audits: int
    change: Change | None = None
    comparison: Comparison | None = None
    by_example: bool = False
    mute: bool = False
    one_verdict: int = 0
    left_out: int = 0
    lacks: str = ""
    offline: int = 0

    @property
    def silent(self) -> bool:
        """Whether no audit says by its verdicts who is a member, so that nothing can be marked."""
        return self.mute or self.one_verdict == self.audits


@dataclass(frozen=True)
class Row:
    """One subject at one level of one run.

    Attributes:
        run: the run's name, with what sets it apart where several runs share it.
        subject: label of the subject.
        level: label of the level.
        density: mean share of nonzero parameters.
        train: accuracy on the target's members.
        test: accuracy on its non-members.
        seeds: how many seeds it was audited with.
        models: how many networks were attacked, over seeds and targets.
        attacks: by label, in run order.
        baseline: name of the row it was compared to.
        notes: what sparsifier and defense reported, by name; None where a network has no such
            note.
        promises: of its networks, where they promise differential privacy with its terms.
        canaries: how many examples were made up, and how, where attacks are about them alone.
        parameters: mean number of nonzero parameters.
        multiply_adds: mean for one example; None where one of the networks has none.
        seconds: mean for one example, likewise.
        failed: labels of attacks that failed on all of its networks; "" where the subject itself
            failed, and nothing else is known about it.
        matched: of a dense control, the subject whose level of the same name it is as accurate as.
    """

    run: str
    subject: str
    level: str
    density: float
    train: Summary
    test: Summary
    seeds: int
    models: int
    attacks: Mapping[str, AttackSummary]
    baseline: str = ""
    notes: Mapping[str, Summary | None] = field(default_factory=dict)
    promises: tuple[Promise, ...] = ()
    canaries: str = ""
    parameters: float | None = None
    multiply_adds: float | None = None
    seconds: float | None = None
    failed: frozenset[str] = frozenset()
    matched: str = ""

    @property
    def name(self) -> str:
        """Subject and level, as a baseline is named."""
        return f"{self.subject} / {self.level}" if self.level else self.subject
