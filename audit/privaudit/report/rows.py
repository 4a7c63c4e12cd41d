"""What a report shows: rows of means, one for each run, subject and level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from privaudit.api.kinds.promise import Promise

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


@dataclass(frozen=True)
class AttackSummary:
    """What one attack found about one row.

    Attributes:
        metrics: by the names of `statistics.table`; None where an audit cannot tell.
        audits: how many there are.
        change: of the metric whose changes are marked, against the baseline's, where it is
            significant.
        mute: whether it says nothing in every audit, as `doubts.attacks.mute` has it.
    """

    metrics: Mapping[str, Summary | None]
    audits: int
    change: Change | None = None
    mute: bool = False


@dataclass(frozen=True)
class Row:
    """One subject at one level of one run.

    Attributes:
        run: the run's name, numbered where several runs share it.
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

    @property
    def name(self) -> str:
        """Subject and level, as a baseline is named."""
        return f"{self.subject} / {self.level}" if self.level else self.subject
