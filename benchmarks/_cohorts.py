"""Networks on real data in complementary pairs, trained once: what attacks are measured on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from privaudit import Defense, Examples, Model, Outputs, Role, Signals, Sparsifier, Training
from privaudit.cohort import Cohort, Journal
from privaudit.experiment.split import make_split
from privaudit.recipe import SplitOptions
from privaudit_plugins.datasets.breast_cancer import BreastCancer
from privaudit_plugins.datasets.digits import Digits
from privaudit_plugins.datasets.image_folder import ImageFolder
from privaudit_plugins.datasets.table import Table
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP


@dataclass(frozen=True)
class Data:
    """Where the data sets that are no part of scikit-learn lie, and where decoded images go."""

    location30: Path | None
    cifar10: Path | None
    cache: Path

    @classmethod
    def of(cls, options: argparse.Namespace) -> Data:
        """As the options of `add_data` say."""
        return cls(options.location30, options.cifar10, options.cache)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Let the command line say where data lie."""
    parser.add_argument("--location30", type=Path)
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmark-cache"))


@dataclass(frozen=True)
class Work:
    """Networks that each train on half of twice so many examples; the rest are the population."""

    examples: Callable[[Data], Examples]
    model: Model
    members: int
    epochs: int
    models: int = 34
    lr: float = 0.05

    def available(self, data: Data) -> bool:
        """Whether the data set is at hand."""
        lacking = [(_location30, data.location30), (_cifar10, data.cifar10)]
        return all(path is not None for load, path in lacking if load is self.examples)


def _digits(data: Data) -> Examples:
    return Digits().load(data.cache)


def _breast_cancer(data: Data) -> Examples:
    return BreastCancer().load(data.cache)


def _location30(data: Data) -> Examples:
    assert data.location30 is not None
    return Table(path=data.location30, standardize=False).load(data.cache)


def _cifar10(data: Data) -> Examples:
    assert data.cifar10 is not None
    return ImageFolder(path=data.cifar10, limit=6000, flip=False, crop=0).load(data.cache)


WORKS = {
    "digits, 600 members": Work(_digits, MLP(), 600, 30),
    "digits, 150 members": Work(_digits, MLP(hidden=(256,)), 150, 60),
    "digits, 600, CNN": Work(_digits, CNN(), 600, 15),
    "Location-30, 1,500": Work(_location30, MLP(hidden=(256,)), 1500, 30),
    "Location-30, 400": Work(_location30, MLP(hidden=(256,)), 400, 40),
    "CIFAR-10, 2,000, CNN": Work(_cifar10, CNN(), 2000, 15, lr=0.02),
    "CIFAR-10, 500, CNN": Work(_cifar10, CNN(), 500, 30, models=10, lr=0.02),
    "breast cancer, 200": Work(_breast_cancer, MLP(), 200, 100),
    "breast cancer, 60": Work(_breast_cancer, MLP(), 60, 100),
}


@dataclass(frozen=True)
class Trained:
    """M networks' answers, and who was in whose training data.

    Attributes:
        x: (N, ...) the examples, as networks see them.
        y: (N,) int64 labels.
        logits: (M, 1, N, C).
        role: (M, N) uint8, a `Role`; models 2i and 2i + 1 are a pair.
    """

    x: Tensor
    y: Tensor
    logits: Tensor
    role: Tensor

    def attacked(self, target: int, shadows: int) -> tuple[Signals, Tensor]:
        """One model under attack with so many of the others, and its audited rows' membership."""
        used = [k for k in range(len(self.role)) if k // 2 != target // 2][:shadows]
        audited = self.role[0] != Role.OUTSIDE
        signals = Signals(
            x=self.x,
            y=self.y,
            audited=audited,
            target=Outputs(self.logits[target]),
            shadows=Outputs(self.logits[used]),
            shadow_role=self.role[used],
        )
        return signals, (self.role[target] == Role.MEMBER)[audited]


def trained(work: Work, data: Data, device: torch.device) -> Trained:
    """The networks of a work, from the cache where they are there."""
    examples = work.examples(data)
    options = SplitOptions(protocol="halves", members=work.members, validation=0, targets="all")
    split = make_split(options, len(examples), work.models - 2, 0)
    cohort = Cohort(
        examples,
        split.role,
        split.seeds,
        model=work.model,
        sparsifier=Sparsifier(name="dense"),
        defense=Defense(name="none"),
        training=Training(epochs=work.epochs, batch_size=64, lr=work.lr, augment=False),
        journal=Journal(data.cache / "journal"),
        device=device,
    )
    cohort.fit()
    return Trained(examples.x, examples.y, cohort.logits()[:, None], split.role)
