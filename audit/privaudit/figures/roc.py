"""ROC curves on logarithmic axes, where it shows whom an attack is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np

from privaudit.errors import RecipeError
from privaudit.explain.points import clouds
from privaudit.figures.chosen import attack_labels
from privaudit.figures.examples import Level, kept, picked
from privaudit.figures.figure import NEUTRAL, Axis, Figure, Series, Zone
from privaudit.report.doubtful import doubt_lines
from privaudit.report.escape import plain
from privaudit.report.evidence import Audited, Evidence
from privaudit.statistics import table
from privaudit.statistics.inference import Audit, mean_of_audits
from privaudit.statistics.intervals import Estimate
from privaudit.store.result import RunResult

_RATES = 40
"""False positive rates at which curves are taken, beside those of the report."""

_MOST = 6
"""Attacks in one figure; more bands hide each other."""

_LEFT_OUT = "Left out, as weaker: {}; `privaudit plot --kind roc --attack NAME` draws one."
_BAND = (
    "Band: at each false positive rate by itself (pointwise), the 95 % interval of the mean true "
    "positive rate, made as the report's TPR columns are: limits of the threshold by order "
    "statistics with those of Clopper & Pearson 1934, and over networks by what they share. It "
    "does not claim to hold the whole curve at once."
)


@dataclass(frozen=True)
class Curve:
    """One attack on one level.

    Attributes:
        attack: its label.
        rates: (n,) false positive rates.
        mean: (n,) true positive rates, the mean over networks, with its interval.
        networks: (A, n) of each network.
        non_members: of the network with the fewest.
    """

    attack: str
    rates: tuple[float, ...]
    mean: tuple[Estimate, ...]
    networks: tuple[tuple[float, ...], ...]
    non_members: int


def roc(
    results: Sequence[RunResult], *, attack: str | None = None, level: str | None = None
) -> list[Figure]:
    """The ROC curves of one level of each run, on log-log axes, with a confidence band.

    The curve of several networks is their vertical average (Fawcett 2006, "An introduction to ROC
    analysis"): the mean of their true positive rates at one false positive rate, as scores of
    different networks need not have one scale, and as the report's TPR columns are.

    Args:
        results: the runs.
        attack: its label, then each network is shown, too; None: all attacks on the level.
        level: SUBJECT or SUBJECT/LEVEL; None: the one that the strongest attack tells most about.

    Raises:
        RecipeError: no run has that attack or level.
        StoreError: a run has not kept its scores, or they are damaged.
    """
    attack_labels(results, attack)
    ranks = {cloud.attack: rank for rank, cloud in enumerate(clouds(results))}
    figures = []
    for place, evidence in picked(results, attack, level):
        names = place.attacks if attack is None else (attack,)
        ordered = sorted(names, key=lambda name: ranks.get(name, len(ranks)))
        curves = [curve(place, name, evidence) for name in ordered[:_MOST]]
        left_out = ordered[_MOST:]
        notes = [_LEFT_OUT.format(", ".join(left_out))] if left_out else []
        figures.append(_figure(place, curves, [*notes, *doubt_lines([evidence.result], plain)]))
    return figures


def curve(level: Level, attack: str, evidence: Evidence) -> Curve:
    """The curve of one attack on a level.

    Raises:
        StoreError: the run has not kept its scores, or they are damaged.
    """
    attacked, examples = kept(level, attack, evidence)
    fewest = min(audited.values.roc.non_members for audited in examples)
    rates = _rates(fewest)
    results = attacked.results
    networks: list[list[float]] = [[] for _ in examples]
    means = []
    for rate in rates:
        audits = [
            _audit(audited, result.seed, result.target, rate)
            for audited, result in zip(examples, results, strict=True)
        ]
        for network, audit in zip(networks, audits, strict=True):
            network.append(audit.estimate.value)
        mean = mean_of_audits(audits, shared=evidence.shared)
        means.append(Estimate(mean.value, max(mean.low, 0.0), min(mean.high, 1.0)))
    return Curve(attack, rates, tuple(means), tuple(map(tuple, networks)), fewest)


def _audit(audited: Audited, seed: int, target: int, rate: float) -> Audit:
    values = audited.values
    estimate = values.roc.tpr_at_fpr(rate)
    if estimate is None:  # cannot be: no rate is below one of the fewest non-members
        raise RecipeError(f"a false positive rate of {rate} cannot be resolved")
    influence = values.tpr(rate)
    return Audit(seed, target, estimate, audited.examples, values.members, influence)


def _rates(non_members: int) -> tuple[float, ...]:
    """Evenly apart on a log axis, each a number of non-members, and those of the report."""
    counts = np.unique(np.geomspace(1, non_members, _RATES).round())
    reported = [float(rate) for rate in table.RATES if float(rate) >= 1 / non_members]
    return tuple(sorted({*(counts / non_members).tolist(), *reported}))


def _figure(level: Level, curves: Sequence[Curve], notes: Sequence[str]) -> Figure:
    fewest = min(curve.non_members for curve in curves)
    edge = 1 / fewest
    low = 10.0 ** floor(log10(edge / 2))
    networks = len(curves[0].networks)
    bands, thin, lines = [], [], []
    for number, one in enumerate(curves):
        middle = tuple(point.value for point in one.mean)
        bands.append(
            Series(
                "",
                "band",
                one.rates,
                middle,
                low=tuple(point.low for point in one.mean),
                high=tuple(point.high for point in one.mean),
                colour=number,
            )
        )
        if len(curves) == 1 and networks > 1:
            thin += [
                Series("", "steps", one.rates, network, colour=number, thin=True)
                for network in one.networks
            ]
        lines.append(Series(one.attack, "line", one.rates, middle, colour=number))
    found = [point.value for one in curves for point in one.mean if point.value > 0]
    least = min(10.0 ** floor(log10(min(found, default=1.0))), 0.1)
    ends = max(low, least), 1.0
    guess = Series("guess", "line", ends, ends, colour=NEUTRAL, dashed=True)
    told = [_BAND]
    if networks > 1:
        told.append(
            f"A line is the mean of {networks} networks: of their true positive rates at one false "
            "positive rate."
        )
    if thin:
        told.append("Thin: each network.")
    return Figure(
        "roc",
        f"ROC of attacks on {level.name}",
        _alternative(level, curves),
        Axis("false positive rate (%)", "log", low, 1.0, percent=True),
        Axis("true positive rate (%)", "log", least, 1.0, percent=True),
        (*reversed(bands), guess, *thin, *reversed(lines)),
        (Zone(low, edge, f"cannot be resolved with {fewest} non-members"),),
        (*told, *notes),
    )


def _alternative(level: Level, curves: Sequence[Curve]) -> str:
    rates = [float(rate) for rate in table.RATES]
    told = []
    for one in curves:
        known = [(rate, one.mean[one.rates.index(rate)]) for rate in rates if rate in one.rates]
        found = [
            f"{100 * tpr.value:.1f} % [{100 * tpr.low:.1f}, {100 * tpr.high:.1f}] "
            f"at {100 * rate:g} %"
            for rate, tpr in known
        ]
        told.append(f"{one.attack}: {', '.join(found) or 'too few non-members to tell'}")
    return (
        f"ROC curves of attacks on {level.name}, on logarithmic axes. Members found (true positive "
        f"rate) at a false positive rate: {'; '.join(told)}. A guess finds as many as it wrongs."
    )
