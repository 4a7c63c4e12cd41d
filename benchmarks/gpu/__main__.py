"""One command that proves and measures everything on the first GPU at hand.

    python -m benchmarks.gpu                               (right, fast, full, paper in this order)
    python -m benchmarks.gpu fast --out OUT                (goes on where OUT says it stopped)
    python -m benchmarks.gpu --pretend                     (every part in miniature, without a GPU)

See benchmarks/gpu/README.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gpu.options import Options, TimeUp
from benchmarks.gpu.table import Table

PARTS = ("right", "fast", "full", "paper")


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="auto", help="cuda, cuda:NUMBER, cpu or pretend")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="tables and caches")
    parser.add_argument("--data", type=Path, help="CIFAR-10 as folders of CLASS/IMAGE files")
    parser.add_argument("--set", action="append", default=[], help="change the paper's recipe")
    parser.add_argument("--limit", type=float, default=520, help="seconds for each part")
    parser.add_argument("--quick", action="store_true", help="in miniature")
    parser.add_argument("--pretend", action="store_true", help="--device pretend --quick")
    options = parser.parse_args(arguments)
    wrong = [part for part in options.parts if part not in PARTS]
    if wrong:
        parser.error(f"no part is called {wrong[0]!r}: there are {', '.join(PARTS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Go through the parts; 1 if something is not as it must be, or has failed."""
    asked = parsed(arguments)
    device, quick = asked.device, asked.quick
    if asked.pretend:
        device, quick = "pretend", True
    from benchmarks.gpu.devices import PRETEND, ended, has_pretend, pretending

    if device == PRETEND and not has_pretend():
        print("this torch cannot pretend an accelerator (2.9 can): the CPU stands in for it")
        device = "cpu"
    failed = False
    with pretending(device):
        for part in asked.parts or PARTS:
            options = Options(device, asked.out, quick, asked.data, tuple(asked.set), asked.limit)
            table = _done(part, options)
            table.seconds = round(options.limit - options.left, 1)
            table.write(options.out)
            print(table.text(), flush=True)
            failed = failed or bool(table.wrong)
    return ended(device, int(failed))


def _done(part: str, options: Options) -> Table:
    """A part's table; where the part has failed, one that says how."""
    work: Callable[[Options], Table] = getattr(
        importlib.import_module(f"benchmarks.gpu.{part}"), part
    )
    try:
        return work(options)
    except TimeUp:
        return Table(part, (), wrong=[f"took longer than {options.limit:.0f} s"])
    except Exception as error:  # the next part is to be tried all the same
        notes = [traceback.format_exc()]
        return Table(part, (), notes=notes, wrong=[f"{type(error).__name__}: {error}"])


if __name__ == "__main__":
    sys.exit(main())
