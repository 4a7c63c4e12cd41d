"""How well the tail of losses puts networks in the order of what LiRA finds in them.

    python -m benchmarks.tail RUN...

RUN is the folder of a run with the attacks `loss` and `lira` and kept scores. Each network of it is
looked at as `privaudit audit --quick` does, and attacked. The rank correlation is that of the runs'
means: networks of one run share their examples and differ little.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean

from privaudit.explain.scores import Audited, level_scores
from privaudit.statistics.correlation import spearman
from privaudit.statistics.intervals import Estimate
from privaudit.statistics.metrics import tpr_at_fpr
from privaudit.statistics.tail import LEVELS, loss_tail
from privaudit.store.result import RunResult, load_run

Key = tuple[str, str, int, int]


def main() -> None:
    """Measure each run, and the correlations over all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    heads = [f"{what} {100 * rate:g} %" for rate in LEVELS for what in ("tail", "LiRA")]
    print("| run | networks | leaks | " + " | ".join(heads) + " |")
    print("| --- | ---: | ---: |" + " ---: |" * len(heads))
    pairs: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for path in parser.parse_args().runs:
        _show(path.name, load_run(path), pairs)
    for rate, points in pairs.items():
        tails, found = zip(*points, strict=True)
        told = _written(spearman(tails, found))
        print(f"rank correlation at {100 * rate:g} %, {len(points)} runs: {told}")


def _show(name: str, result: RunResult, pairs: dict[float, list[tuple[float, float]]]) -> None:
    losses, scores = _audits(result, "loss"), _audits(result, "lira")
    values: dict[tuple[str, float], list[float]] = defaultdict(list)
    leaks = 0
    for key, audit in losses.items():
        tail = loss_tail(-audit.score, audit.member)
        leaks += tail.p_value < 0.05
        for level in tail.levels:
            found = tpr_at_fpr(scores[key].score, scores[key].member, level.fnr)
            if level.tnr is not None and found is not None:
                values["tail", level.fnr].append(level.tnr.value)
                values["LiRA", level.fnr].append(found.value)
    cells = []
    for rate in LEVELS:
        if tails := values["tail", rate]:
            point = mean(tails), mean(values["LiRA", rate])
            pairs[rate].append(point)
            cells += [f"{100 * value:.1f}" for value in point]
        else:
            cells += ["n/r", "n/r"]
    print(f"| {name} | {len(losses)} | {leaks} | {' | '.join(cells)} |", flush=True)


def _audits(result: RunResult, attack: str) -> dict[Key, Audited]:
    return {
        (level.subject, level.level, audit.seed, audit.target): audit
        for level in level_scores(result, attack)
        for audit in level.audits
    }


def _written(estimate: Estimate | None) -> str:
    if estimate is None:
        return "cannot be told: it takes four runs that differ"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


if __name__ == "__main__":
    main()
