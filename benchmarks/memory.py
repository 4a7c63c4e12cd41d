"""Peak memory of a whole run with 256 shadow models, in the parent and in its workers.

    python -m benchmarks.memory --set seeds=1 --set \
        'attacks=[{name: shadow_mlp, epochs: 1}, logistic_regression, loss]'   (two minutes)
    python -m benchmarks.memory --shadows 64 --processes 1

Without these changes it takes most of an hour: the discriminators learn from all shadows.

Runs `privaudit run` as a child, with an empty cache, and looks at Linux's own count of each
process's peak (VmHWM) a few times a second. Pages that processes share are in each one's count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_BAR = 1536  # MiB


def peaks(process: subprocess.Popen[bytes]) -> dict[int, int]:
    """The peak of a process and each that it has started, in KiB by number, until it ends."""
    found: dict[int, int] = {}
    while process.poll() is None:
        for number in (process.pid, *_children(process.pid)):
            with suppress(OSError, StopIteration):  # it ends just now
                found[number] = max(found.get(number, 0), _peak(number))
        time.sleep(0.05)
    return found


def _children(parent: int) -> list[int]:
    with suppress(OSError):
        tasks = Path(f"/proc/{parent}/task").iterdir()
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    return []


def _peak(number: int) -> int:
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Print the peak of every process, largest first, and whether it is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--shadows", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="A.B.C=VALUE")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:i")
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("this benchmark reads /proc: it needs Linux")
    changes = [f"shadows={options.shadows}", *options.set]
    command = [sys.executable, "-m", "privaudit", "run", options.recipe]
    command += ["--processes", str(options.processes), "--device", options.device]
    for change in changes:
        command += ["--set", change]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--output", f"{folder}/run", "--cache", f"{folder}/cache"]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        found = peaks(process)
        taken = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"the run failed with {process.returncode}")
    parent = found.pop(process.pid) / 1024
    workers = sorted((kib / 1024 for kib in found.values()), reverse=True)
    print(f"{options.recipe} with {options.shadows} shadows: {taken:.0f} s")
    print(f"parent     {parent:7,.0f} MiB")
    for each in workers:
        print(f"its child  {each:7,.0f} MiB")
    below = "below" if parent < _BAR else "ABOVE"
    print(f"the parent is {below} {_BAR:,} MiB; all together {parent + sum(workers):,.0f} MiB")


if __name__ == "__main__":
    main()
