"""What every attack finds with 2 to 64 shadows: the evidence for what `privaudit audit` asks.

    python -m benchmarks.attacks --location30 FILE --cifar10 FOLDER
    python -m benchmarks.attacks --only digits --shadows 2,8 --attacks lira,rmia

Networks in complementary pairs train on real data once and stay in `--cache`, as does each finished
cell, so that a run that is stopped goes on. Each of the first networks is the target in turn, for
every number of shadows the same ones. A cell is the mean over these targets with its 95 % interval:
the share of members found at 1 % and at 0.1 % false alarms, in %. "–" is what the attack refuses,
"n/r" what so few non-members cannot resolve. Attacks that ask the network itself (gradients, more
queries, its dense original) are in the recipes' results, not here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import privaudit
from benchmarks._cohorts import WORKS, Data, Trained, add_data, trained
from privaudit import Attack, PrivauditError
from privaudit.outputs.entries import attack_entries
from privaudit.statistics.curve import roc_curve
from privaudit.statistics.inference import Audit, PerExample, mean_of_audits

SETS = (
    "Location-30, 1,500",
    "CIFAR-10, 2,000, CNN",
    "CIFAR-10, 500, CNN",
    "digits, 150 members",
    "breast cancer, 200",
)
"""Five of `WORKS`, on the four datasets at hand."""

RATES = (0.01, 0.001)

OFFLINE = ("lira", "bavaria", "rmia")
"""Attacks that are also asked without shadows that were trained on the audited examples."""


@dataclass(frozen=True)
class Cell:
    """One attack with so many shadows.

    Attributes:
        auc: the mean over targets, its lower and its upper limit.
        tpr: likewise, of each of `RATES`; None where it is not resolvable.
        seconds: of processor time a target.
        refusal: why there are no numbers; empty where there are.
    """

    auc: tuple[float, float, float] | None
    tpr: tuple[tuple[float, float, float] | None, ...]
    seconds: float
    refusal: str = ""

    def text(self) -> str:
        """As the table has it."""
        if self.refusal:
            return "–"
        return "<br>".join(_share(tpr) for tpr in self.tpr)


def _share(tpr: Sequence[float] | None) -> str:
    if tpr is None:
        return "n/r"
    value, low, high = (100 * share for share in tpr)
    return f"{value:.1f} [{max(low, 0):.1f}, {high:.1f}]"


def attacks() -> dict[str, Attack]:
    """All that answers to one query allow, by label."""
    plugins = privaudit.load_plugins()
    found = {}
    for label, attack in attack_entries(plugins.names("attack"), plugins):
        noisy = attack.noise and not attack.noise_optional
        if not noisy and attack.queries == 1 and attack.signals <= {"x"}:
            found[label] = attack
    entries = [{"name": name, "mode": "offline", "label": f"{name} offline"} for name in OFFLINE]
    return found | dict(attack_entries(entries, plugins))


def measured(networks: Trained, attack: Attack, shadows: int, targets: int) -> Cell:
    """The cell of an attack."""
    attacked = [networks.attacked(target, shadows) for target in range(targets)]
    started = time.process_time()
    try:
        if attack.shadows > shadows:
            raise PrivauditError(f"needs {attack.shadows} shadows")
        scored = attack.score_all([signals for signals, _ in attacked])
    except PrivauditError as error:
        return Cell(None, (), 0.0, str(error))
    seconds = (time.process_time() - started) / targets
    curves, parts = [], []
    for target, ((signals, member), answer) in enumerate(zip(attacked, scored, strict=True)):
        rows = signals.audited.nonzero()[:, 0]
        score, flags = answer.score[rows].double().numpy(), member.numpy()
        known = ~np.isnan(score)
        curve = roc_curve(score[known], flags[known])
        curves.append(curve)
        parts.append(
            (target, rows.numpy()[known], flags[known], PerExample(score[known], flags[known]))
        )

    def mean(estimates: Sequence[Any], influences: Sequence[Any]) -> tuple[float, float, float]:
        audits = [
            Audit(0, target, estimate, examples, flags, influence)
            for (target, examples, flags, _), estimate, influence in zip(
                parts, estimates, influences, strict=True
            )
        ]
        found = mean_of_audits(audits)
        return found.value, found.low, found.high

    tpr = []
    for rate in RATES:
        estimates = [curve.tpr_at_fpr(rate) for curve in curves]
        missing = any(estimate is None for estimate in estimates)
        tpr.append(None if missing else mean(estimates, [part[3].tpr(rate) for part in parts]))
    auc = mean([curve.auc() for curve in curves], [part[3].auc() for part in parts])
    return Cell(auc, tuple(tpr), seconds)


def cells(
    name: str, data: Data, wanted: Mapping[str, Attack], shadows: Sequence[int], targets: int
) -> Iterator[tuple[str, int, Cell]]:
    """Every cell of one set of networks, from the file of finished ones where it is there."""
    path = data.cache / "attacks.jsonl"
    done = _done(path)
    networks = None
    for label, attack in wanted.items():
        for count in shadows:
            key = json.dumps([name, attack.model_dump(mode="json"), count, targets], sort_keys=True)
            if key not in done:
                networks = networks or trained(
                    replace(WORKS[name], models=max(shadows) + 2), data, torch.device("cpu")
                )
                cell = measured(networks, attack, count, targets)
                with path.open("a") as file:
                    file.write(json.dumps({"key": key, "cell": asdict(cell)}) + "\n")
                done[key] = cell
            yield label, count, done[key]


def _done(path: Path) -> dict[str, Cell]:
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["key"]: Cell(**line["cell"]) for line in lines}


def main() -> None:
    """Print a Markdown table for each set of networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_data(parser)
    parser.add_argument("--only", default="", help="sets of networks whose name begins so")
    parser.add_argument("--attacks", default="", help="labels, with commas between them")
    parser.add_argument("--shadows", default="2,4,8,16,64")
    parser.add_argument("--targets", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Data.of(options)
    data.cache.mkdir(parents=True, exist_ok=True)
    counts = [int(count) for count in options.shadows.split(",")]
    wanted = attacks()
    if options.attacks:
        wanted = {label: wanted[label] for label in options.attacks.split(",")}
    for name in SETS:
        if not name.startswith(options.only) or not WORKS[name].available(data):
            continue
        print(f"\n{name}\n\n| attack | " + " | ".join(map(str, counts)) + " | seconds |")
        print("| --- |" + " --- |" * (len(counts) + 1), flush=True)
        row: list[Cell] = []
        for label, _, cell in cells(name, data, wanted, counts, options.targets):
            row.append(cell)
            if len(row) == len(counts):
                print(f"| {label} | " + " | ".join(cell.text() for cell in row), end="")
                print(f" | {row[-1].seconds:.2f} |", flush=True)
                row = []


if __name__ == "__main__":
    main()
