"""What sets two runs apart, as values: what they were made from, and what they found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from privaudit.report.leaves import Path
from privaudit.report.rows import Comparison

Section = Literal["recipe", "data", "versions", "device", "plugins"]

Network = tuple[int, int]
"""Seed and target."""

ACCURACY = "test_accuracy"
"""Of the networks, beside the metrics of attacks."""


@dataclass(frozen=True)
class Change:
    """Something that the runs were made from or by, and that is not the same in both.

    Attributes:
        section: what it is part of.
        path: where it stands there: the leaf of a recipe, or kind, name and field of a plugin.
        a: what it is in A, or a `leaves.Gap`.
        b: what it is in B, likewise.
    """

    section: Section
    path: Path
    a: Any
    b: Any


@dataclass(frozen=True)
class Cell:
    """One number of a row, in both runs.

    Attributes:
        a: what each network of A has; None where that cannot be told.
        b: what those of B have, in the same order.
        value: the mean of B minus A; None where it cannot be told.
        comparison: the same, tested; None where it cannot be.
        reason: why it cannot be told, or not be tested; empty where it is.
    """

    a: tuple[float | None, ...]
    b: tuple[float | None, ...]
    value: float | None
    comparison: Comparison | None = None
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """What both runs have of one subject and level: an attack, or the networks themselves.

    Attributes:
        subject: label of the subject.
        level: label of the level.
        attack: label of the attack; empty where it is about the networks.
        networks: the seeds and targets that both have.
        cells: by metric.
        by_example: whether both are about the same examples, network by network.
    """

    subject: str
    level: str
    attack: str
    networks: tuple[Network, ...]
    cells: Mapping[str, Cell]
    by_example: bool = False

    @property
    def name(self) -> str:
        """Subject, level and attack in one."""
        level = f" / {self.level}" if self.level else ""
        attack = f": {self.attack}" if self.attack else ""
        return f"{self.subject}{level}{attack}"


@dataclass(frozen=True)
class Lone:
    """Audits that only one of the runs has.

    Attributes:
        subject: label of the subject.
        level: label of the level.
        attack: label of the attack.
        networks: their seeds and targets.
        failed: why the other run lacks them, where it tried; empty where it did not.
    """

    subject: str
    level: str
    attack: str
    networks: tuple[Network, ...]
    failed: str = ""

    @property
    def name(self) -> str:
        """Subject, level and attack in one."""
        return f"{self.level_name}: {self.attack}"

    @property
    def level_name(self) -> str:
        """Subject and level in one."""
        return f"{self.subject} / {self.level}" if self.level else self.subject


@dataclass(frozen=True)
class Diff:
    """Two runs against one another.

    Attributes:
        a: what the first is called.
        b: what the second is called.
        same_run: whether both are one run.
        changes: what they were made from or by, where it is not the same.
        untold: what may differ or not, with the reason why that cannot be told.
        networks: a row for each subject and level of both.
        rows: a row for each subject, level and attack of both.
        only_a: what only the first has.
        only_b: what only the second has.
        metrics: names of what the rows were asked for, in the order of reports.
        comparisons: how many were tested, and adjusted for one another.
    """

    a: str
    b: str
    same_run: bool
    changes: tuple[Change, ...]
    untold: tuple[str, ...]
    networks: tuple[Row, ...]
    rows: tuple[Row, ...]
    only_a: tuple[Lone, ...]
    only_b: tuple[Lone, ...]
    metrics: tuple[str, ...]
    comparisons: int
