"""How much faster LiRA and RMIA score than a Python loop over examples.

    python -m benchmarks.scoring                    (256 shadows, 50,000 examples: two minutes)
    python -m benchmarks.scoring --shadows 64 --examples 5000

The loop is what most tools run: example by example, over all shadows at once, with NumPy and
`scipy.stats.norm`, once for each model that is attacked. It is timed on a few examples of one
target, and its time for the rest is extrapolated. What counts is the ratio of the two on the same
machine, one core each. With `split.targets: all` every model is the target in turn.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor

from privaudit import Outputs, Role, Signals
from privaudit.reductions import log_odds, softmax_odds
from privaudit_plugins.attacks._in_turn import others
from privaudit_plugins.attacks._lira import Shadows, likelihood_ratios
from privaudit_plugins.attacks._rmia import log_ratio, mean_probability, share_dominated
from privaudit_plugins.attacks.lira import LiRA
from privaudit_plugins.attacks.rmia import RMIA

_FIXED = RMIA(gamma=2, temperature=1, ties="keep")  # what the loop does
_SAMPLE = 500  # examples that the loop is timed on


def made_up(shadows: int, examples: int, classes: int) -> Signals:
    """A target and shadows in complementary pairs; a fifth of the examples is not audited."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(classes, (examples,), generator=draw)
    audited = torch.arange(examples) < examples * 4 // 5
    inside = torch.rand(shadows, examples, generator=draw) < 0.5
    inside[1::2] = ~inside[::2]
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).byte()
    role[:, ~audited] = Role.OUTSIDE
    logits = torch.empty(shadows, 1, examples, classes)
    for k in range(shadows):
        logits[k, 0].normal_(generator=draw)
        logits[k, 0, torch.arange(examples), y] += 2 + 2 * (role[k] == Role.MEMBER)
    target = logits[0].roll(1, 1)
    return Signals(
        x=torch.empty(examples, 0),
        y=y,
        audited=audited,
        target=Outputs(target),
        shadows=Outputs(logits),
        shadow_role=role,
    )


def every_model_in_turn(signals: Signals) -> tuple[Tensor, Tensor]:
    """Scores of LiRA and RMIA with each shadow as the target of the others, (K, n) each."""
    rows, rest = (part.nonzero()[:, 0] for part in (signals.audited, ~signals.audited))
    role = signals.shadow_role[:, rows]
    inside, outside = role == Role.MEMBER, role == Role.NON_MEMBER
    kept = others(inside, outside, len(role))
    phi = log_odds(signals.shadows.logits, signals.y, rows)
    lira = likelihood_ratios(
        phi, Shadows(phi, inside, outside, kept), online=True, per_example=True, center="mean"
    )
    odds = softmax_odds(signals.shadows.logits[:, 0], signals.y, torch.cat([rows, rest]), 1.0)
    everyone = torch.ones_like(odds, dtype=torch.bool)
    ratio = log_ratio(odds, mean_probability(odds, everyone, kept))
    size = len(rows)
    rmia = torch.stack([share_dominated(r[:size], r[size:], 2.0) for r in ratio])
    return lira, rmia


class Loop:
    """The same scores, one example after another, from a model's logits."""

    def __init__(self, signals: Signals) -> None:
        self.y = signals.y.numpy()
        self.target: NDArray[np.float32] = signals.target.logits[0].numpy()
        self.shadows: NDArray[np.float32] = signals.shadows.logits[:, 0].numpy()
        self.inside: NDArray[np.bool_] = (signals.shadow_role == Role.MEMBER).numpy()
        population = np.flatnonzero(~signals.audited.numpy())
        some = np.array([self._ratio(z) for z in population[:_SAMPLE]])
        self.population_ratio = np.resize(some, len(population))

    def lira(self, row: int) -> float:
        """Log N(φ; in) - log N(φ; out) of an example."""
        rival = np.arange(self.target.shape[1]) != self.y[row]

        def phi(logits: NDArray[np.float32]) -> NDArray[np.float64]:
            z = logits.astype(np.float64)
            return np.asarray(z[..., self.y[row]] - logsumexp(z[..., rival], axis=-1))

        known, inside = phi(self.shadows[:, row]), self.inside[:, row]
        with_it, without, seen = known[inside], known[~inside], phi(self.target[row])
        return float(
            norm.logpdf(seen, with_it.mean(), with_it.std())
            - norm.logpdf(seen, without.mean(), without.std())
        )

    def rmia(self, row: int) -> float:
        """The share of the population that an example exceeds."""
        return float((self._ratio(row) / self.population_ratio >= 2.0).mean())

    def _ratio(self, row: int) -> float:
        def p(logits: NDArray[np.float32]) -> NDArray[np.float64]:
            z = logits.astype(np.float64)
            return np.asarray(np.exp(z[..., self.y[row]] - logsumexp(z, axis=-1)))

        return float(p(self.target[row]) / p(self.shadows[:, row]).mean())


def timed(work: Callable[[], object]) -> float:
    """Processor seconds that something takes: a busy machine does not change them much."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Print seconds, ratios and memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shadows", type=int, default=256, help="even")
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    signals = made_up(options.shadows, options.examples, options.classes)
    given = signals.shadows.logits.numel() * signals.shadows.logits.element_size()
    before = _peak()
    lira, rmia = timed(lambda: LiRA().score(signals)), timed(lambda: _FIXED.score(signals))
    one = _peak() - before
    turns = timed(lambda: every_model_in_turn(signals))
    loop = Loop(signals)
    rows = range(_SAMPLE)
    audited = int(signals.audited.sum())
    slow_lira = timed(lambda: [loop.lira(row) for row in rows]) / _SAMPLE * audited
    slow_rmia = timed(lambda: [loop.rmia(row) for row in rows]) / _SAMPLE * options.examples
    slow = slow_lira + slow_rmia
    print(f"{options.shadows} shadows, {options.examples:,} examples, {options.classes} classes")
    print(f"inputs {given / 2**20:,.0f} MiB; scoring added {one / 2**20:,.0f} MiB at its peak")
    print("one target           seconds      loop   ratio")
    for name, fast, loops in (("lira", lira, slow_lira), ("rmia", rmia, slow_rmia)):
        print(f"  {name:18} {fast:7.2f} {loops:9,.0f} {loops / fast:7,.0f}")
    print(f"  {'both':18} {lira + rmia:7.2f} {slow:9,.0f} {slow / (lira + rmia):7,.0f}")
    print("every model in turn")
    many = slow * options.shadows
    print(f"  {'both':18} {turns:7.2f} {many:9,.0f} {many / turns:7,.0f}")


def _peak() -> int:
    """The most memory this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
