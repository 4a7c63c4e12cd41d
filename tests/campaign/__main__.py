"""Runs the campaign, in whole or in part: `python -m tests.campaign [PART ...] [--share 0.1]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.campaign._case import parts


def main() -> None:
    """Run what is asked for; a line for each part, and for each thing that went wrong."""
    known = parts()
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(known)}; all if not given")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of each part")
    parser.add_argument("--sample", type=int, help="so many cases of each part instead")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if unknown := sorted(set(asked.part) - known.keys()):
        parser.error(f"no such part: {', '.join(unknown)}")
    wrong: Counter[str] = Counter()
    print(f"{'part':<16}{'cases':>8}{'wrong':>8}{'minutes':>9}")
    for name in asked.part or known:
        started, tried = time.monotonic(), 0
        cases = list(known[name].cases(asked.seed))
        every = max(1, round(1 / asked.share))
        if asked.sample:
            every = max(1, len(cases) // asked.sample)
        for case in cases[every // 2 :: every][: asked.sample]:
            tried += case.count
            if problem := case.outcome():
                wrong[name] += 1
                print(f"  {name}: {case.name}: {problem}", flush=True)
        minutes = (time.monotonic() - started) / 60
        print(
            f"{name:<16}{tried:>8,}{wrong[name]:>8,}{minutes:>9.1f}  {known[name].question}",
            flush=True,
        )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
