"""How often a doubt stops an audit that was made as it should be.

    python -m benchmarks.false_alarms
    python -m benchmarks.false_alarms --location ~/data/location30.csv.xz --words

Every audit is drawn anew (`benchmarks.honest_audits`). `below_half` is said of every attack whose
95 % interval lies wholly below one half, which of attacks on a network that tells nothing 2.5 % do,
by what 95 % means.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections import Counter
from pathlib import Path

import torch

from benchmarks.honest_audits import honest_audit
from privaudit.api.host import load_plugins
from privaudit.errors import PrivauditError
from privaudit.outputs import audit_outputs
from privaudit.statistics.intervals import clopper_pearson


def main() -> None:
    """Draw the audits, and count those that are doubted, by the doubt's name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--location", type=Path, help="the Location-30 table, as CSV")
    parser.add_argument("--words", action="store_true", help="print each doubt")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    plugins, start = load_plugins(), time.perf_counter()
    counts, stopped, refused, attacks = Counter[str](), 0, Counter[str](), 0
    for seed in range(options.first, options.first + options.audits):
        audit = honest_audit(seed, options.location)
        names: set[str] = set()
        for group in (audit.attacks, *([attack] for attack in audit.attacks)):
            try:
                found = audit_outputs(**audit.arrays, attacks=group, plugins=plugins, quiet=True)
            except PrivauditError as error:
                if len(group) > 1:
                    continue  # what one of them cannot do, the others still can, one by one
                refused.update(group)
                if options.words:
                    print(f"{seed} {audit.words}: {error}")
                continue
            attacks += len(group)
            for doubt in found.doubts:
                if options.words and doubt.name not in names:
                    print(f"{seed} {audit.words}: {doubt.line()}", flush=True)
                names.add(doubt.name)
            if group is audit.attacks:
                break
        counts.update(names)
        stopped += bool(names)
    share = clopper_pearson(stopped, options.audits, 0.95)
    print(f"{options.audits} audits with {attacks} attacks, {time.perf_counter() - start:.0f} s")
    print(
        f"stopped by a doubt: {stopped} ({100 * share.value:.1f} %, "
        f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f} %)"
    )
    for name, count in counts.most_common():
        print(f"  {name}: {count}")
    print(f"attacks refused: {sum(refused.values())} {dict(refused)}")


if __name__ == "__main__":
    main()
