"""What a run kept about every example: its scores, its label, and how the network answered it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from privaudit.store.result import AuditResult, RunResult
from privaudit.store.scores import RunArrays


@dataclass(frozen=True)
class Audited:
    """The n audited examples of one network that one attack scores, and what it makes of them.

    Attributes:
        example: (n,) int64: rows of the dataset.
        label: (n,) int64.
        member: (n,) bool.
        score: (n,) float64, higher = likelier a member.
        confidence: (n,) the probability the network gives the label; None if it was not kept.
        sensitivity: (n,) how far its answer moves under noise, over the noise's scale; likewise.
        seed: of the recipe.
        target: which of the seed's networks.
    """

    example: NDArray[np.int64]
    label: NDArray[np.int64]
    member: NDArray[np.bool_]
    score: NDArray[np.float64]
    confidence: NDArray[np.float64] | None = None
    sensitivity: NDArray[np.float64] | None = None
    seed: int = 0
    target: int = 0


@dataclass(frozen=True)
class LevelScores:
    """One attack on all networks of one level.

    Attributes:
        subject: label of the subject.
        level: label of the level.
        attack: label of the attack.
        classes: names of the C classes.
        audits: one for each seed and target.
        names: of the examples, by their rows; empty where their dataset gives none.
    """

    subject: str
    level: str
    attack: str
    classes: tuple[str, ...]
    audits: tuple[Audited, ...]
    names: tuple[str, ...] = ()


def strongest_level(result: RunResult, attack: str) -> tuple[str, str]:
    """Subject and level that an attack tells most about: of the highest mean AUC, first come."""
    aucs: dict[tuple[str, str], list[float]] = {}
    for audit in result.audits:
        if audit.attack == attack and audit.metrics["auc"] is not None:
            values = aucs.setdefault((audit.subject, audit.level), [])
            values.append(audit.metrics["auc"]["value"])
    return max(aucs, key=lambda level: mean(aucs[level]))


def level_scores(
    result: RunResult, attack: str, only: tuple[str, str] | None = None
) -> Iterator[LevelScores]:
    """The levels that an attack was let loose on, in run order; none where labels are not kept.

    Args:
        result: a run on disk.
        attack: label of the attack.
        only: subject and level to read; None for all.

    Raises:
        StoreError: the scores are damaged.
    """
    numbers: dict[tuple[str, str], list[int]] = {}
    first: dict[tuple[str, str, int, int], int] = {}
    for number, audit in enumerate(result.audits):
        first.setdefault((audit.subject, audit.level, audit.seed, audit.target), number)
        if audit.attack == attack and only in (None, (audit.subject, audit.level)):
            numbers.setdefault((audit.subject, audit.level), []).append(number)
    arrays = RunArrays(result.folder)
    if "classes" not in arrays.names:
        return
    classes = tuple(str(name) for name in arrays.read("classes"))
    names = arrays.example_names()
    for (subject, level), level_numbers in numbers.items():
        audits = []
        for number in level_numbers:
            audit = result.audits[number]
            network = first[subject, level, audit.seed, audit.target]
            audits.append(_audited(arrays, audit, number, network, len(classes)))
        yield LevelScores(subject, level, attack, classes, tuple(audits), names)


def _audited(
    arrays: RunArrays, audit: AuditResult, number: int, network: int, classes: int
) -> Audited:
    whose = f"{audit.seed}_{audit.target}"
    example = arrays.read(f"example_{whose}")
    rows = len(example)
    label = arrays.read(f"label_{whose}", rows)
    if ((label < 0) | (label >= classes)).any():
        raise arrays.damaged(f"label_{whose} names more than the {classes} classes")
    score = arrays.read(f"score_{number}", rows).astype(np.float64)
    kept = ~np.isnan(score)  # what the attack left out for want of shadows is no part of it
    confidence = arrays.find(f"confidence_{network}", rows)
    sensitivity = arrays.find(f"sensitivity_{network}", rows)
    return Audited(
        example.astype(np.int64)[kept],
        label.astype(np.int64)[kept],
        arrays.read(f"member_{whose}", rows).astype(np.bool_)[kept],
        score[kept],
        None if confidence is None else confidence[kept],
        None if sensitivity is None else sensitivity[kept],
        audit.seed,
        audit.target,
    )
