"""Time of training many models as a cohort against a plain loop, model after model.

    python -m benchmarks.training                        (all works: about ten minutes)
    python -m benchmarks.training digits_mlp --rounds 1
    python -m benchmarks.training resnet20 --device cuda --processes 1

The plain loop is what people write: a DataLoader over a TensorDataset, one module, torch.optim.SGD,
an epoch at a time, with all threads. It trains a few of the models and its time is scaled up,
because each takes as long as the next. Loop and cohort alternate; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks._device import add_device, now
from privaudit import Defense, Examples, Model, Role, Sparsifier, Training
from privaudit.cohort import Cohort
from privaudit.jobs.local import Workers
from privaudit.jobs.memory import keep_freed_memory
from privaudit_plugins.datasets.digits import Digits
from privaudit_plugins.datasets.image_folder import ImageFolder
from privaudit_plugins.datasets.table import Table
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20

Loader = DataLoader[tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class Work:
    """Models to be trained, and how many of them the plain loop trains."""

    examples: Callable[[Path], Examples]
    model: Model
    models: int
    members: int
    epochs: int
    batch: int
    looped: int


WORKS = {
    "digits_mlp": Work(lambda data: Digits().load(data), MLP(), 64, 898, 30, 64, 4),
    "digits_cnn": Work(lambda data: Digits().load(data), CNN(), 64, 898, 5, 64, 4),
    "location30_mlp": Work(
        lambda data: Table(path=data / "location30.csv", standardize=False).load(data),
        MLP(hidden=(256,)), 64, 2505, 15, 64, 2,
    ),
    "resnet20": Work(
        lambda data: ImageFolder(path=data, limit=512).load(data), ResNet20(), 2, 256, 2, 128, 2
    ),
}  # fmt: skip


def looped(work: Work, examples: Examples, rows: list[torch.Tensor], device: torch.device) -> float:
    """Seconds that all models would take, one after another."""
    x = ((examples.x.float() - examples.mean) / examples.std).to(device)
    y = examples.y.to(device)
    started = now(device)
    for own in rows[: work.looped]:
        network = work.model.build(examples.shape, len(examples.classes)).to(device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        members = TensorDataset(x[own], y[own])
        loader: DataLoader[tuple[torch.Tensor, ...]] = DataLoader(
            members, batch_size=work.batch, shuffle=True
        )
        _train(network, optimizer, loader, work.epochs)
    return (now(device) - started) * work.models / work.looped


def _train(
    network: nn.Module, optimizer: torch.optim.Optimizer, loader: Loader, epochs: int
) -> None:
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(network(x), y))
            optimizer.step()


def together(
    work: Work,
    examples: Examples,
    role: torch.Tensor,
    workers: Workers | None,
    device: torch.device,
) -> float:
    """Seconds that they take as a cohort."""
    cohort = Cohort(
        examples,
        role,
        torch.arange(work.models),
        model=work.model,
        sparsifier=Sparsifier(name="dense"),
        defense=Defense(name="none"),
        training=Training(
            epochs=work.epochs, batch_size=work.batch, lr=0.05, momentum=0.9, augment=False
        ),
        workers=workers,
        device=device,
    )
    started = now(device)
    cohort.fit()
    return now(device) - started


def main() -> None:
    """Print one line for each work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", default=list(WORKS), help=", ".join(WORKS))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=torch.get_num_threads())
    add_device(parser)
    options = parser.parse_args()
    device = options.device
    keep_freed_memory()
    print("work             models   loop s   cohort s   ratio   every round")
    with ExitStack() as stack:
        workers = None
        if options.processes > 1 and device.type == "cpu":
            workers = stack.enter_context(Workers(options.processes))
        for name in options.works:
            work = WORKS[name]
            examples = work.examples(options.data)
            role = torch.zeros((work.models, len(examples)), dtype=torch.uint8)
            for m in range(work.models):
                order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(m))
                role[m, order[: work.members]] = Role.MEMBER
            rows = [(r == Role.MEMBER).nonzero()[:, 0] for r in role]
            # Start the workers, settle the memory, and import what the first optimizer does.
            looped(replace(work, epochs=1, looped=1), examples, rows, device)
            together(work, examples, role, workers, device)
            rounds = [
                (
                    looped(work, examples, rows, device),
                    together(work, examples, role, workers, device),
                )
                for _ in range(options.rounds)
            ]
            loop, cohort = (statistics.median(column) for column in zip(*rounds, strict=True))
            each = " ".join(f"{a / b:.1f}" for a, b in rounds)
            times = f"{loop:8.1f} {cohort:10.2f} {loop / cohort:7.2f}"
            print(f"{name:16} {work.models:6} {times}   {each}")


if __name__ == "__main__":
    main()
