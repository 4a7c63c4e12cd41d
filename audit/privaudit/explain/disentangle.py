"""Sparsity, accuracy and privacy told apart.

Gonon et al. 2023, "Can sparsity improve the privacy of neural networks?": all three go together,
so that two networks of different accuracy say little about sparsity itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean

from scipy.special import stdtrit

from privaudit.explain.points import Cloud, Measure, Point, clusters, levels
from privaudit.report.rows import Summary
from privaudit.statistics.correlation import pearson, spearman
from privaudit.statistics.intervals import Estimate
from privaudit.statistics.metrics import mean_std


@dataclass(frozen=True)
class Correlation:
    """How two numbers go together over all networks; None where that cannot be told."""

    pearson: Estimate | None
    spearman: Estimate | None


@dataclass(frozen=True)
class Control:
    """Networks beside dense ones of the same test accuracy.

    Attributes:
        subject: label of the dense networks, the first if there are several.
        test_accuracy: mean of the sparse networks that have a control.
        control_accuracy: mean of their controls.
        difference: defense of the sparse network minus that of its control, over pairs.
        pairs: how many there are.
    """

    subject: str
    test_accuracy: float
    control_accuracy: float
    difference: Summary
    pairs: int


@dataclass(frozen=True)
class LevelView:
    """One level against the baseline, and against its own control.

    Attributes:
        run: the run's name.
        subject: label of the subject.
        level: label of the level.
        density: mean share of nonzero parameters.
        test_accuracy: mean over networks.
        defense: mean over networks.
        accuracy_loss: of the baseline's test accuracy, the share that is lost; negative where
            accuracy was gained; None for the baseline itself and where the baseline has none.
        defense_gain: of the baseline's defense, the share that is gained; None likewise.
        ratio: `defense_gain` / `accuracy_loss`, Gonon et al. 2023, "Sparsity can improve privacy
            of neural networks" (3.6 over their range); None where no accuracy is lost, as nothing
            was paid.
        control: None where the level was not matched.
    """

    run: str
    subject: str
    level: str
    density: float
    test_accuracy: float
    defense: float
    accuracy_loss: float | None
    defense_gain: float | None
    ratio: float | None
    control: Control | None


@dataclass(frozen=True)
class Disentangled:
    """What one attack says about sparsity, accuracy and privacy.

    Attributes:
        attack: label of the attack.
        measure: what its defense is made of, see `points.Cloud`.
        auc: mean over all networks.
        networks: how many points the correlations are taken over; no controls.
        seeds: how many seeds they are of.
        targets: how many targets a seed has at most.
        sparsity_defense: both over all networks, as the next.
        sparsity_error: error is 1 - test accuracy.
        error_defense: likewise.
        given_error: the partial correlation of sparsity and defense, error held fixed.
        levels: in run order.
        at_equal_accuracy: all networks that are sparser than their controls; None without any.
    """

    attack: str
    measure: Measure
    auc: float
    networks: int
    seeds: int
    targets: int
    sparsity_defense: Correlation
    sparsity_error: Correlation
    error_defense: Correlation
    given_error: Correlation
    levels: tuple[LevelView, ...]
    at_equal_accuracy: Control | None


def disentangle(cloud: Cloud, baselines: Mapping[str, tuple[str, str, str]]) -> Disentangled:
    """Correlations, comparisons with the baseline, and what is left at equal accuracy.

    Args:
        cloud: every network of one attack.
        baselines: run, subject and level that each run's levels are compared to, by run.
    """
    points = cloud.points
    sparsity = [point.sparsity for point in points]
    error = [point.error for point in points]
    safety = [point.defense for point in points]
    together = clusters(points)
    level_networks = levels(points)
    pairs = {name: _pairs(networks, cloud.controls) for name, networks in level_networks.items()}
    sparser = [
        (point, control)
        for level_pairs in pairs.values()
        for point, control in level_pairs
        if point.audit.density < control.audit.density
    ]
    return Disentangled(
        cloud.attack,
        cloud.measure,
        cloud.auc,
        networks=len(points),
        seeds=len({point.audit.seed for point in points}),
        targets=len({point.audit.target for point in points}),
        sparsity_defense=_correlation(sparsity, safety, None, together),
        sparsity_error=_correlation(sparsity, error, None, together),
        error_defense=_correlation(error, safety, None, together),
        given_error=_correlation(sparsity, safety, error, together),
        levels=tuple(
            _level(name, networks, level_networks.get(baselines[name[0]]), pairs[name])
            for name, networks in level_networks.items()
        ),
        at_equal_accuracy=_control(sparser) if sparser else None,
    )


def _correlation(
    x: Sequence[float],
    y: Sequence[float],
    given: Sequence[float] | None,
    together: Sequence[Hashable],
) -> Correlation:
    return Correlation(
        pearson(x, y, given=given, clusters=together),
        spearman(x, y, given=given, clusters=together),
    )


def _level(
    name: tuple[str, str, str],
    networks: Sequence[Point],
    baseline: Sequence[Point] | None,
    pairs: Sequence[tuple[Point, Point]],
) -> LevelView:
    accuracy = mean(point.audit.test_accuracy for point in networks)
    safety = mean(point.defense for point in networks)
    loss = gain = None
    if baseline and baseline is not networks:
        loss = _lost(mean(point.audit.test_accuracy for point in baseline), accuracy)
        lost = _lost(mean(point.defense for point in baseline), safety)
        gain = None if lost is None else -lost
    return LevelView(
        *name,
        density=mean(point.audit.density for point in networks),
        test_accuracy=accuracy,
        defense=safety,
        accuracy_loss=loss,
        defense_gain=gain,
        ratio=gain / loss if gain is not None and loss is not None and loss > 0 else None,
        control=_control(pairs) if pairs else None,
    )


def _lost(before: float, after: float) -> float | None:
    return (before - after) / before if before > 0 else None


def _pairs(networks: Sequence[Point], controls: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Each network of a level with its control of the same run, seed and target."""

    def key(point: Point, subject: str) -> tuple[str, str, str, int, int]:
        audit = point.audit
        return point.run, subject, audit.level, audit.seed, audit.target

    controls_by_key = {key(control, control.audit.matched): control for control in controls}
    candidates = [
        (point, controls_by_key.get(key(point, point.audit.subject))) for point in networks
    ]
    return [(point, control) for point, control in candidates if control]


def _control(pairs: Sequence[tuple[Point, Point]]) -> Control:
    return Control(
        subject=pairs[0][1].audit.subject,
        test_accuracy=mean(sparse.audit.test_accuracy for sparse, _ in pairs),
        control_accuracy=mean(control.audit.test_accuracy for _, control in pairs),
        difference=_difference(pairs),
        pairs=len(pairs),
    )


def _difference(pairs: Sequence[tuple[Point, Point]]) -> Summary:
    """Mean difference in defense, with Student's t interval over seeds.

    The pairs of one seed (its targets, or levels) are averaged first: they are not independent.
    With a single seed its targets take the seeds' place. A single one has no interval.
    """
    labels = clusters([sparse for sparse, _ in pairs])
    groups: dict[int, list[float]] = {}
    for label, (sparse, control) in zip(labels, pairs, strict=True):
        groups.setdefault(label, []).append(sparse.defense - control.defense)
    count = len(groups)
    value, std = mean_std([mean(group) for group in groups.values()])
    if std is None:
        return Summary(value)
    reach = float(stdtrit(count - 1, 0.975)) * std / sqrt(count)
    return Summary(value, std, value - reach, value + reach)
