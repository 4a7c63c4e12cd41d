"""Every audited network as a point: how sparse, how often wrong, how well defended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Literal

from privaudit.report.names import run_names
from privaudit.statistics.metrics import defense
from privaudit.store.result import AuditResult, RunResult

Measure = Literal["defense", "auc"]


@dataclass(frozen=True)
class Point:
    """One attack on one network.

    Attributes:
        run: the run's name, with what sets it apart where several runs share it.
        audit: what was found.
        defense: how well the network withstood the attack, 0-1, by the attack's `Measure`.
    """

    run: str
    audit: AuditResult
    defense: float

    @property
    def sparsity(self) -> float:
        """Share of the dense network's parameters that are zero or gone."""
        return 1 - self.audit.density

    @property
    def error(self) -> float:
        """Share of the non-members classified wrongly."""
        return 1 - self.audit.test_accuracy

    @property
    def auc(self) -> float:
        """The attack's AUC."""
        return float(self.audit.metrics["auc"]["value"])


@dataclass(frozen=True)
class Cloud:
    """Every network one attack was let loose on.

    Attributes:
        attack: label of the attack.
        measure: "defense" where the attack decides about every network of the runs; otherwise
            "auc", and a point's defense is 2 (1 - AUC). The AUC is the accuracy of an attacker
            who is shown one member and one non-member and says which is which, so that both
            measures are 2 (1 - accuracy) on equally many of each, 1 where it guesses.
        points: the networks as the recipe trains them.
        controls: dense networks of the same test accuracy as one of the points.
    """

    attack: str
    measure: Measure
    points: tuple[Point, ...]
    controls: tuple[Point, ...]

    @property
    def auc(self) -> float:
        """Mean over all networks: how strong the attack is."""
        return mean(point.auc for point in self.points)


def clouds(results: Sequence[RunResult]) -> list[Cloud]:
    """The points of each attack, the strongest attack first.

    An audit whose AUC is not known is left out.
    """
    audits_by_attack: dict[str, list[tuple[str, AuditResult]]] = {}
    for name, result in zip(run_names(results), results, strict=True):
        for audit in result.audits:
            if audit.metrics["auc"] is not None:
                audits_by_attack.setdefault(audit.attack, []).append((name, audit))
    made = [_cloud(attack, audits) for attack, audits in audits_by_attack.items()]
    return sorted((cloud for cloud in made if cloud.points), key=lambda cloud: -cloud.auc)


def levels(points: Sequence[Point]) -> dict[tuple[str, str, str], list[Point]]:
    """The points of each run, subject and level, in run order."""
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        key = point.run, point.audit.subject, point.audit.level
        groups.setdefault(key, []).append(point)
    return groups


def clusters(points: Sequence[Point]) -> list[int]:
    """Labels of points that are not independent: a seed's, or a target's if there is one seed.

    The networks of one seed share its split; all levels of one target come from one training.
    """
    if len({point.audit.seed for point in points}) > 1:
        return [point.audit.seed for point in points]
    return [point.audit.target for point in points]


def _cloud(attack: str, audits: Sequence[tuple[str, AuditResult]]) -> Cloud:
    decides = all(audit.metrics["defense"] is not None for _, audit in audits)
    measure: Measure = "defense" if decides else "auc"
    points = [Point(run, audit, _defense(audit.metrics, measure)) for run, audit in audits]
    return Cloud(
        attack,
        measure,
        tuple(point for point in points if not point.audit.matched),
        tuple(point for point in points if point.audit.matched),
    )


def _defense(metrics: Mapping[str, Any], measure: Measure) -> float:
    return float(metrics["defense"]) if measure == "defense" else defense(metrics["auc"]["value"])
