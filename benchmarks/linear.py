"""Time and peak memory of training 1 to 256 models as a cohort: both must grow in proportion.

    python -m benchmarks.linear                 (writes benchmarks/linear.png: a few minutes)
    python -m benchmarks.linear --rows 4000 --classes 100        (attacks; a minute)
    python -m benchmarks.linear --rows 50000 --classes 100 --most 64 --only

MLPs 64-128-10 on half of the digits, 30 epochs in batches of 64. Each number of models has a fresh
process, because peak memory never falls again; one epoch of one model settles it first. Time is
that of the processor, with one thread: a busy machine does not change it much; with --device cuda
it is the wall's, and memory is the host's. Needs matplotlib, which privaudit itself does not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks._device import add_device, now

_MIB = 2**20


def trained(models: int, epochs: int, device: torch.device) -> dict[str, float]:
    """Processor seconds of training so many models, and MiB: before it, and at the peak."""
    from privaudit import Defense, Role, Sparsifier, Training
    from privaudit.cohort import Cohort
    from privaudit.jobs.memory import keep_freed_memory
    from privaudit_plugins.datasets.digits import Digits
    from privaudit_plugins.models.mlp import MLP

    keep_freed_memory()
    torch.set_num_threads(1)
    examples = Digits().load(Path())
    role = torch.zeros((models, len(examples)), dtype=torch.uint8)
    role[:, ::2] = Role.MEMBER

    def clock() -> float:
        return time.process_time() if device.type == "cpu" else now(device)

    def seconds(models: int, epochs: int) -> float:
        cohort = Cohort(
            examples,
            role[:models],
            torch.arange(models),
            model=MLP(),
            sparsifier=Sparsifier(name="dense"),
            defense=Defense(name="none"),
            training=Training(epochs=epochs, batch_size=64, lr=0.05, momentum=0.9, augment=False),
            device=device,
        )
        started = clock()
        cohort.fit()
        return clock() - started

    seconds(1, 1)
    before = _peak()
    taken = seconds(models, epochs)
    return {"seconds": taken, "before": before / _MIB, "peak": _peak() / _MIB}


def drawn(path: Path, models: list[int], found: list[dict[str, float]], epochs: int) -> None:
    """Two panels: seconds, and memory on top of what one epoch of one model has needed."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    seconds = [each["seconds"] for each in found]
    added = [each["peak"] - each["before"] for each in found]
    memory = [each or float("nan") for each in added]  # nothing has no place on a log axis
    titles = ("Time of training", "Peak memory added by training")
    units = ("processor seconds, one thread", "MiB")
    for panel, values, title, unit in zip(panels, (seconds, memory), titles, units, strict=True):
        guide = [values[-1] * k / models[-1] for k in models]
        panel.loglog(models, guide, "--", color="0.6", label="in proportion (slope 1)")
        panel.loglog(models, values, "o-", color="C0", label="measured")
        panel.set_title(title)
        panel.set_xlabel("models in the cohort")
        panel.set_ylabel(unit)
        panel.set_xticks(models, [str(k) for k in models])
        panel.minorticks_off()
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(color="0.9")
        panel.legend(frameon=False)
    figure.suptitle(f"MLP 64-128-10, {epochs} epochs on 899 digits in batches of 64, CPU")
    figure.savefig(path, dpi=120)


def of_attacks(options: argparse.Namespace) -> None:
    """One line for each number of models whose drawn answers are kept and attacked."""
    heads = "models    rows  classes  answering s  attacking s a target  MiB held  MiB at the peak"
    print(f"{heads}  x logits")
    powers = [2**power for power in range(3, options.most.bit_length())]
    for count in powers[-1:] if options.only else powers:
        command = [sys.executable, "-m", "benchmarks.linear", "--attacked", str(count)]
        command += ["--rows", str(options.rows), "--classes", str(options.classes)]
        command += ["--targets", str(options.targets)] + ["--auto"] * options.auto
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        one = json.loads(done.stdout)
        held, added = one["held"] - one["before"], one["peak"] - one["before"]
        logits = 4 * count * options.rows * options.classes / _MIB
        times = f"{one['answering']:13.1f} {one['attacking']:21.2f}"
        memory = f"{held:10.0f} {added:16.0f} {added / logits:9.2f}"
        print(f"{count:6} {options.rows:7} {options.classes:8}{times}{memory}", flush=True)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        sys.exit("this benchmark draws with matplotlib: pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _peak() -> int:
    """The most memory this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Print one line for each number of models, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=256, help="models, a power of two")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("linear.png"))
    parser.add_argument("--rows", type=int, help="examples: attacks are measured, not training")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--targets", type=int, default=1, help="of so many the mean")
    parser.add_argument("--auto", action="store_true", help="RMIA chooses its temperature")
    parser.add_argument("--only", action="store_true", help="the largest number of models alone")
    parser.add_argument("--attacked", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # a fresh process's part
    add_device(parser)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(trained(options.one, options.epochs, options.device)))
        return
    if options.attacked:
        from benchmarks._attacked import attacked

        sizes = (options.attacked, options.rows, options.classes, options.targets)
        print(json.dumps(attacked(*sizes, options.auto)))
        return
    if options.rows:
        of_attacks(options)
        return
    _pyplot()
    print("models   seconds   ms a model   MiB before   MiB added   KiB a model")
    models = [2**power for power in range(options.most.bit_length())]
    found = []
    for count in models:
        command = [sys.executable, "-m", "benchmarks.linear", "--one", str(count)]
        command += ["--epochs", str(options.epochs), "--device", str(options.device)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        one = json.loads(done.stdout)
        found.append(one)
        added = one["peak"] - one["before"]
        times = f"{one['seconds']:9.2f} {1000 * one['seconds'] / count:12.0f}"
        print(f"{count:6} {times} {one['before']:12.0f} {added:11.1f} {1024 * added / count:13.0f}")
    drawn(options.output, models, found, options.epochs)


if __name__ == "__main__":
    main()
