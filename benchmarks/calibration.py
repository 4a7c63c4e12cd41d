"""How often intervals and tests keep their promise, on simulated audits whose truth is known.

    python -m benchmarks.calibration                     (one thread, about ten minutes)
    python -m benchmarks.calibration --quick             (a miniature: does it run?)
    python -m benchmarks.calibration --only "five values|given" --replications 300

Every cell is the share of simulated audits whose 95 % interval holds the truth; below 93 % it is
marked. The last table says how often something is found where there is nothing to find: Holm
promises at most 5 % for all rows together.

The world: example i has a difficulty, of deviation `rho`, that all networks share; a score is
mu for members + difficulty + the network's own noise of deviation 1. A seed's networks may all be
stronger or weaker (deviation `tau` of mu). The truth is the area of the population over fresh
examples and fresh networks; with one seed, over fresh examples for its networks.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from privaudit.statistics.case import balanced_accuracy
from privaudit.statistics.inference import Audit, PerExample, difference, holm, mean_of_audits
from privaudit.statistics.intervals import Estimate, disjoint, mean_std
from privaudit.statistics.metrics import roc_auc

PROMISED = 0.93
SEEDS = (1, 2, 3, 5, 10, 16)
MU = 0.5
RATE = 0.1
_GRID = np.linspace(-6, 6, 401)
_WEIGHT = norm.pdf(_GRID) / norm.pdf(_GRID).sum()

Trial = Callable[[np.random.Generator], bool]
"""One simulated audit, or a row of them: whether the interval holds the truth."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a trial for each column, None where there is none."""

    name: str
    trials: Sequence[Trial | None]
    false_alarms: bool = False


# One audit ------------------------------------------------------------------------------------

SIZES = ((20, 20), (200, 200), (200, 20), (20, 200), (100, 1000), (1000, 100))


def _values(chances: Sequence[float]) -> Callable[[np.random.Generator, int], NDArray[np.float64]]:
    return lambda rng, n: rng.choice(len(chances), n, p=chances).astype(np.float64)


def _normal(shift: float) -> Callable[[np.random.Generator, int], NDArray[np.float64]]:
    return lambda rng, n: rng.normal(shift, 1, n)


_FIVE = [0.2] * 5, [0.1, 0.15, 0.2, 0.25, 0.3]
SCORES = {
    "continuous, AUC .5": (_normal(0), _normal(0), 0.5),
    "continuous, AUC .64": (_normal(MU), _normal(0), norm.cdf(MU / 2**0.5)),
    "continuous, AUC .98": (_normal(3), _normal(0), norm.cdf(3 / 2**0.5)),
    "five values": (
        _values(_FIVE[1]),
        _values(_FIVE[0]),
        sum(_FIVE[1][i] * (sum(_FIVE[0][:i]) + _FIVE[0][i] / 2) for i in range(5)),
    ),
    "0/1, hits 30 % and 20 %": (_values([0.7, 0.3]), _values([0.8, 0.2]), 0.55),
    "0/1, hits 5 % and 2 %": (_values([0.95, 0.05]), _values([0.98, 0.02]), 0.515),
    "0/1, hits 98 % and 90 %": (_values([0.02, 0.98]), _values([0.1, 0.9]), 0.54),
}


def _one(name: str, members: int, non_members: int, rng: np.random.Generator) -> bool:
    inside, outside, truth = SCORES[name]
    scores = np.concatenate([inside(rng, members), outside(rng, non_members)])
    return _holds(roc_auc(scores, np.arange(len(scores)) < members), truth)


def _holds(estimate: Estimate, truth: float) -> bool:
    return bool(estimate.low - 1e-12 <= truth <= estimate.high + 1e-12)


# Several audits -------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What the audits of a row share.

    Attributes:
        sharing: `fresh`: every audit has examples of its own; `own split`: each draws who is a
            member from the same examples; `disjoint`: likewise, auditing half of them;
            `split.seed`: all audit the same members and non-members.
        rho: deviation of the difficulty that an example keeps.
        tau: deviation of a seed's strength.
        values: `continuous`, `five` or `two`: how many values scores have.
        members: how many of the examples are members.
        examples: N.
        targets: how many networks a seed has.
        metric: `auc`, `accuracy` of calling scores above mu / 2 members, or `tpr` at 10 %.
        common: share of the variance of the noise that all networks of a target have in common;
            1 is one given network.
    """

    sharing: str
    rho: float = 1.0
    tau: float = 0.0
    values: str = "continuous"
    members: int = 200
    examples: int = 400
    targets: int = 1
    metric: str = "auc"
    common: float = 0.0


def _coarse(scores: NDArray[np.float64], world: World) -> NDArray[np.float64]:
    if world.values == "continuous":
        return scores
    scale = (1 + world.rho**2) ** 0.5
    cuts = [-1.0, -0.3, 0.3, 1.0] if world.values == "five" else [1.5]
    return np.searchsorted(np.array(cuts) * scale, scores).astype(np.float64)


def _truth(world: World, mu: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The population's number where members are ahead by mu."""
    scale = (1 + world.rho**2) ** 0.5
    mu = np.asarray(mu)
    if world.metric == "accuracy":
        return np.asarray((norm.cdf((mu - MU / 2) / scale) + norm.cdf(MU / 2 / scale)) / 2)
    if world.metric == "tpr":
        return np.asarray(norm.sf(norm.isf(RATE) - mu / scale))
    if world.values == "continuous":
        return np.asarray(norm.cdf(mu / scale / 2**0.5))
    cuts = np.array([-1.0, -0.3, 0.3, 1.0] if world.values == "five" else [1.5]) * scale
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    inside = np.diff(norm.cdf((edges - mu[..., None]) / scale))
    outside = np.diff(norm.cdf(edges / scale))
    return np.asarray((inside * (np.cumsum(outside) - outside / 2)).sum(-1))


def _audits(
    world: World, seeds: int, rng: np.random.Generator, networks: int = 1
) -> tuple[list[list[Audit]], float]:
    """The audits of `networks` rows on the same splits, and the truth of each."""
    total, targets = world.examples, world.targets
    difficulty = world.rho * rng.normal(size=total)
    fixed = [rng.permutation(total) for _ in range(targets)]
    given = rng.normal(size=(targets, total))
    rows: list[list[Audit]] = [[] for _ in range(networks)]
    strengths = []
    for seed in range(seeds):
        ahead = MU + world.tau * rng.normal(size=networks)
        strengths.append(ahead)
        for target in range(targets):
            order = fixed[target] if world.sharing == "split.seed" else rng.permutation(total)
            hard = difficulty
            if world.sharing == "fresh":
                hard = world.rho * rng.normal(size=total)
            rows_audited = order[: total // 2] if world.sharing == "disjoint" else order
            share = world.members * len(rows_audited) // total
            members = np.arange(len(rows_audited)) < share
            names = rows_audited + (total * (seed * targets + target)) * (world.sharing == "fresh")
            alike = given[target] if world.sharing == "split.seed" else rng.normal(size=total)
            for row, mu in zip(rows, ahead, strict=True):
                noise = np.sqrt(world.common) * alike + np.sqrt(1 - world.common) * rng.normal(
                    size=total
                )
                scores = (hard + noise)[rows_audited] + mu * members
                row.append(_audit(world, seed, target, scores, members, names))
    if seeds == 1:
        return rows, float(_truth(world, strengths[0][0]))
    return rows, float(_WEIGHT @ _truth(world, MU + world.tau * _GRID))


def _audit(
    world: World,
    seed: int,
    target: int,
    scores: NDArray[np.float64],
    members: NDArray[np.bool_],
    names: NDArray[np.int64],
) -> Audit:
    scores = _coarse(scores, world)
    values = PerExample(scores, members, scores > MU / 2)
    if world.metric == "accuracy":
        estimate, influence = balanced_accuracy(scores > MU / 2, members), values.accuracy()
    elif world.metric == "tpr":
        resolved = values.roc.tpr_at_fpr(RATE)
        assert resolved is not None
        estimate, influence = resolved, values.tpr(RATE)
    else:
        estimate, influence = values.roc.auc(), values.auc()
    return Audit(seed, target, estimate, names, members, influence)


def _mean(world: World, seeds: int, rng: np.random.Generator) -> bool:
    (audits,), truth = _audits(world, seeds, rng)
    return _holds(mean_of_audits(audits), truth)


# Differences ----------------------------------------------------------------------------------

ROWS = 10


def _pair(world: World, seeds: int, rng: np.random.Generator) -> bool:
    (here, there), _ = _audits(world, seeds, rng, networks=2)
    change = difference(list(zip(here, there, strict=True)))
    return change.low <= 0 <= change.high


def _family(world: World, seeds: int, rule: str, rng: np.random.Generator) -> bool:
    """Whether any of ten rows that do not differ from the baseline is said to."""
    (baseline, *rows), _ = _audits(world, seeds, rng, networks=ROWS + 1)
    if rule == "paper":
        first = mean_std([audit.estimate.value for audit in baseline])
        return any(disjoint(*first, *mean_std([a.estimate.value for a in row])) for row in rows)
    p_values = [difference(list(zip(row, baseline, strict=True))).p for row in rows]
    return min(holm(p_values) if rule == "holm" else p_values) < 0.05


# The tables -----------------------------------------------------------------------------------


def _over_seeds(
    name: str,
    world: World,
    trial: Callable[[World, int, np.random.Generator], bool] = _mean,
    seeds: Sequence[int] = SEEDS,
) -> Line:
    return Line(name, [partial(trial, world, count) if count in seeds else None for count in SEEDS])


def tables() -> Iterator[tuple[str, list[str], list[Line]]]:
    """Title, columns and lines of every table."""
    sizes = [f"{members} : {non_members}" for members, non_members in SIZES]
    yield (
        "The AUC of one audit, by the numbers of members and non-members",
        sizes,
        [Line(name, [partial(_one, name, *size) for size in SIZES]) for name in SCORES],
    )
    counts = [f"{count} seed{'s' * (count > 1)}" for count in SEEDS]
    several = [
        _over_seeds(f"{sharing}, rho {rho}, tau {tau}", World(sharing, rho, tau))
        for sharing, settings in (
            ("fresh", ((1, 0), (1, 0.2))),
            ("own split", ((0, 0), (1, 0), (3, 0), (1, 0.2))),
            ("disjoint", ((1, 0), (1, 0.2))),
            ("split.seed", ((0, 0), (1, 0), (3, 0), (1, 0.2))),
        )
        for rho, tau in settings
    ]
    several += [
        _over_seeds(f"{sharing}, {what}", World(sharing, **options))
        for sharing in ("own split", "split.seed")
        for what, options in (
            ("five values", {"values": "five"}),
            ("0/1, rare hits", {"values": "two"}),
            ("10 : 1", {"members": 400, "examples": 440}),
            ("1 : 10", {"members": 40, "examples": 440}),
        )
    ]
    several += [
        _over_seeds(f"{sharing}, {count} targets a seed, rho {rho}",
                    World(sharing, rho, targets=count), seeds=(1, 2, 3))
        for sharing in ("own split", "split.seed")
        for count, rho in ((4, 1), (8, 3))
    ]  # fmt: skip
    several += [
        _over_seeds(f"one given network, {what}", World("split.seed", rho, common=common))
        for what, rho, common in (
            ("attackers who agree", 1, 1.0),
            ("attackers with noise of their own", 1, 0.5),
        )
    ]
    yield "The AUC over several audits", counts, several
    yield (
        "Other numbers over several audits",
        counts,
        [
            _over_seeds(
                f"{metric}, {sharing}, rho {rho}",
                World(sharing, rho, metric=metric),
                seeds=SEEDS[:-1],
            )
            for metric in ("accuracy", "tpr")
            for sharing, rho in (("own split", 1), ("split.seed", 1), ("split.seed", 3))
        ],
    )
    alike = World("split.seed", metric="accuracy", common=0.95)
    pairs = {
        "defense, own split": World("own split", metric="accuracy"),
        "defense, split.seed": World("split.seed", metric="accuracy"),
        "defense, networks almost alike": alike,
        "AUC, own split": World("own split"),
        "AUC, split.seed, rho 3": World("split.seed", 3),
    }
    moved = {
        "defense, own split, tau 0.2": World("own split", tau=0.2, metric="accuracy"),
        "AUC, split.seed, tau 0.2": World("split.seed", tau=0.2),
    }
    yield (
        "Paired differences of rows that do not differ: the interval holds 0",
        counts,
        [_over_seeds(name, world, _pair, SEEDS[:-1]) for name, world in pairs.items()]
        + [_over_seeds(name, world, _pair, SEEDS[1:-1]) for name, world in moved.items()],
    )
    world = World("own split", metric="accuracy")
    yield (
        f"False findings: any of {ROWS} rows that do not differ from the baseline",
        counts,
        [
            Line(
                name,
                [
                    partial(_family, world, count, rule) if count in (1, 3, 5) else None
                    for count in SEEDS
                ],
                false_alarms=True,
            )
            for name, rule in (
                ("the paper's rule", "paper"),
                ("p < 5 %, unadjusted", "each"),
                ("p < 5 %, Holm", "holm"),
            )
        ],
    )


def measured(trial: Trial, replications: int, seed: int) -> float:
    """The share of trials that hold."""
    rng = np.random.default_rng(seed)
    return sum(trial(rng) for _ in range(replications)) / replications


def main(arguments: Sequence[str] | None = None) -> float:
    """Print the tables as Markdown; the lowest coverage of all cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--replications", type=int, default=500, help="of a cell; half from ten seeds on"
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="in 'title: line'")
    parser.add_argument("--quick", action="store_true", help="ten replications, few seeds")
    options = parser.parse_args(arguments)
    start, worst = time.process_time(), 1.0
    for title, heads, lines in tables():
        if not any(re.search(options.only, f"{title}: {line.name}") for line in lines):
            continue
        print(f"\n{title}:\n\n| | {' | '.join(heads)} |\n| --- |{' ---: |' * len(heads)}")
        for number, line in enumerate(lines):
            if not re.search(options.only, f"{title}: {line.name}"):
                continue
            cells = []
            for column, trial in enumerate(line.trials):
                if trial is None or (options.quick and (column > 2 or number % 4)):
                    cells.append("")
                    continue
                costly = line.false_alarms or column > 3
                count = 10 if options.quick else options.replications // (1 + costly)
                share = measured(trial, count, 1000 * number + column)
                worst = worst if line.false_alarms else min(worst, share)
                low = share < PROMISED and not (line.false_alarms or options.quick)
                cells.append(f"{100 * share:.1f}" + (" !" if low else ""))
            print(f"| {line.name} | {' | '.join(cells)} |", flush=True)
    print(
        f"\nLowest coverage {100 * worst:.1f} %; "
        f"{time.process_time() - start:.0f} s of processor time."
    )
    return worst


if __name__ == "__main__":
    main(sys.argv[1:])
