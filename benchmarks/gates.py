"""How often gates pass a network, or a way to train, whose true value is just at the limit.

    python -m benchmarks.gates              minutes; --repeats 300 for a quick look

A gate on each network is kept by all of a row's networks, one on the mean by the interval of their
mean. Scores are normal: each example has a difficulty, which networks that are audited on the same
examples share, and members stand higher by what gives the network its AUC. The AUC of a network
varies around the limit from training to training by `spread`, so that the mean over trainings is
exactly at the limit. 2.5 % is what a gate at 95 % may pass.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from privaudit.gate import Gate, parse_gate
from privaudit.report.gating.means import mean_of_row
from privaudit.statistics.curve import roc_curve
from privaudit.statistics.inference import Audit, PerExample

GATE = parse_gate("mean(auc)<0.6")


@dataclass(frozen=True)
class Setting:
    """A study.

    Attributes:
        networks: how many there are, each of its own seed.
        members: audited, and as many non-members.
        spread: standard deviation of the true AUC over trainings.
        shared: whether all networks are audited on the same examples.
    """

    networks: int
    members: int
    spread: float
    shared: bool


SETTINGS = [
    Setting(networks, members, spread, shared)
    for networks in (2, 3, 5, 24)
    for members in (40, 400)
    for spread in (0.0, 0.03)
    for shared in (False, True)
]


def audits(setting: Setting, mean: float, rng: np.random.Generator) -> list[Audit]:
    """The audits of one study in which the AUC over trainings is `mean`."""
    count = 2 * setting.members
    flags = np.arange(count) < setting.members
    difficulty = rng.normal(size=(1 if setting.shared else setting.networks, count))
    made = []
    for network in range(setting.networks):
        # The AUC of two normal laws a shift apart, each of variance 2 (half difficulty, half own).
        auc = float(np.clip(rng.normal(mean, setting.spread), 0.01, 0.99))
        shift = 2 * float(ndtri(auc))
        hard = difficulty[0 if setting.shared else network]
        scores = hard + rng.normal(size=count) + shift * flags
        examples = np.arange(count) + (0 if setting.shared else network * count)
        influence = PerExample(scores, flags).auc()
        estimate = roc_curve(scores, flags).auc()
        made.append(Audit(network, 0, estimate, examples, flags, influence))
    return made


def kept(gate: Gate, made: list[Audit]) -> tuple[bool, bool]:
    """Whether every network keeps a gate by itself, and whether the mean does."""
    each = all(gate.kept_by(max(audit.estimate.high, 1 - audit.estimate.low)) for audit in made)
    mean = mean_of_row(gate, made)
    return each, gate.kept_by(max(mean.high, 1 - mean.low))


def shares(setting: Setting, mean: float, repeats: int, seed: int = 0) -> tuple[float, float]:
    """The shares of studies in which the two gates are kept."""
    rng = np.random.default_rng(seed)
    told = [kept(GATE, audits(setting, mean, rng)) for _ in range(repeats)]
    each, of_mean = np.mean(told, axis=0)
    return float(each), float(of_mean)


def main() -> None:
    """Print a line for each setting: at the limit, and where nothing leaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    print("networks members spread examples   at the limit: each, mean   no leak: each, mean")
    for setting in SETTINGS:
        rates = [shares(setting, mean, repeats) for mean in (GATE.limit, 0.5)]
        numbers = "   ".join(f"{each:7.1%} {mean:7.1%}" for each, mean in rates)
        examples = "same" if setting.shared else "own"
        print(
            f"{setting.networks:8} {setting.members:7} {setting.spread:6} {examples:8}   {numbers}",
            flush=True,
        )


if __name__ == "__main__":
    main()
