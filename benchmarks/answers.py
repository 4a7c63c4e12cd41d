"""Time of asking many models about many examples against a plain loop, model after model.

    python -m benchmarks.answers                       (64 models, 10,000 examples: a minute)
    python -m benchmarks.answers --noise 10

The plain loop is what people write: a DataLoader over a TensorDataset in batches of 64, one module
after another, without gradients. It asks a few of the models and its time is scaled up, because
each takes as long as the next. Loop and cohort alternate; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks._device import add_device, now
from privaudit import Defense, Examples, Role, Sparsifier, Training
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.jobs.memory import keep_freed_memory
from privaudit_plugins.datasets.digits import Digits
from privaudit_plugins.models.mlp import MLP

_LOOPED = 4  # models that the plain loop asks


def many_digits(count: int) -> Examples:
    """The digits, again and again, up to a number of examples."""
    digits = Digits().load(Path())
    rows = torch.arange(count) % len(digits)
    return replace(digits, x=digits.x[rows], y=digits.y[rows])


def cohort_of(examples: Examples, models: int, device: torch.device) -> Cohort:
    """Models as they start: trained ones answer neither sooner nor later."""
    return Cohort(
        examples,
        torch.full((models, len(examples)), Role.NON_MEMBER, dtype=torch.uint8),
        torch.arange(models),
        model=MLP(),
        sparsifier=Sparsifier(name="dense"),
        defense=Defense(name="none"),
        training=Training(augment=False),
        device=device,
    )


def looped(networks: list[nn.Module], x: Tensor, copies: int, scale: float) -> Tensor:
    """Logits (models, 1 + copies, N, C): of the examples, and of noisy copies."""
    found = []
    for network in networks:
        network.eval()
        asked = [x] + [x + scale * torch.randn_like(x) for _ in range(copies)]
        with torch.no_grad():
            for each in asked:
                loader = DataLoader(TensorDataset(each), batch_size=64)
                found.append(torch.cat([network(batch) for (batch,) in loader]))
    return torch.stack(found).view(len(networks), 1 + copies, len(x), -1)


def main() -> None:
    """Print the medians, their ratio, and the ratio of every round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--noise", type=int, default=0, help="noisy copies of each example")
    parser.add_argument("--rounds", type=int, default=5)
    add_device(parser)
    options = parser.parse_args()
    device = options.device
    keep_freed_memory()
    examples = many_digits(options.examples)
    cohort = cohort_of(examples, options.models, device)
    audited = torch.ones((options.models, options.examples), dtype=torch.bool)
    networks = [cohort_module(cohort, m) for m in range(min(_LOOPED, options.models))]
    x = ((examples.x.float() - examples.mean) / examples.std).to(device)
    rounds = []
    for number in range(options.rounds + 1):
        started = now(device)
        plain = looped(networks, x, options.noise, 1e-3)
        between = now(device)
        fast = answers(cohort, audited, noise=options.noise)
        ended = now(device)
        torch.testing.assert_close(fast.logits[: len(networks), 0], plain[:, 0].cpu())
        if number:  # the first settles the memory
            loop = (between - started) * options.models / len(networks)
            rounds.append((loop, ended - between))
    loop, together = (statistics.median(column) for column in zip(*rounds, strict=True))
    each = " ".join(f"{a / b:.1f}" for a, b in rounds)
    print("models   examples   noisy copies   loop s   cohort s   ratio   every round")
    asked = f"{options.models:6} {options.examples:10,} {options.noise:14}"
    print(f"{asked} {loop:8.2f} {together:10.3f} {loop / together:7.1f}   {each}")


def cohort_module(cohort: Cohort, model: int) -> nn.Module:
    """One of a cohort's models as a plain module."""
    examples = cohort.data.examples
    network = MLP().build(examples.shape, len(examples.classes))
    network.load_state_dict({n: w[model] for n, w in cohort.weights.items()})
    return network.to(cohort.data.y.device)


if __name__ == "__main__":
    main()
