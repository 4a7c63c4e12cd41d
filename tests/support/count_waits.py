"""What every built-in sparsifier and defense adds to a training step on the pretend accelerator.

Each trains with few steps in an epoch and with twice as many; what its steps wait for or upload is
the difference. One line of JSON for each, with the lines of privaudit that did it.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter

import torch

from on_device import images, plugin_pairs, roles
from privaudit import Defense, Model, Sparsifier
from privaudit.cohort import Cohort
from privaudit.testing import pretend
from privaudit.training import Training


def steps_of(sparsifier: Sparsifier, defense: Defense, model: Model, batch: int) -> Counter[str]:
    """Waits and uploads of all training, by line."""
    found: Counter[str] = Counter()
    training = Training(epochs=1, batch_size=batch, lr=0.01)
    with pretend.watching() as seen:
        cohort = Cohort(
            images(), roles()[:1], torch.tensor([5]), model=model, sparsifier=sparsifier,
            defense=defense, training=training, device=pretend.device(),
        )  # fmt: skip
        for _ in sparsifier.sparsify(cohort):
            pass
    for kind in (seen.waits, seen.uploads):
        for (operation, line), count in kind.items():
            found[f"{line}: {operation}"] += count
    return found


def main() -> None:
    """Count, and print."""
    torch.set_num_threads(1)
    for name, pair in plugin_pairs():
        line: dict[str, object] = {"case": name}
        try:
            more = steps_of(*pair, batch=5)
            more.subtract(steps_of(*pair, batch=10))
            line["more"] = {where: count for where, count in more.items() if count > 0}
        except Exception as error:
            line["error"] = f"{type(error).__name__}: {error}"[:500]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
