"""What many tests share: real digits, one torch thread, and cohorts of tiny networks."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_digits
from torch import Tensor, nn

from privaudit import (
    Defense,
    Examples,
    Model,
    Role,
    Sparsifier,
)
from privaudit.cohort import Cohort
from privaudit.training import Training
from privaudit.values import Augmentation

settings.register_profile("privaudit", deadline=None)
settings.load_profile("privaudit")
torch.set_num_threads(1)  # tiny networks gain nothing from more, and two test runs disturb less
# What runs in the background, as under nohup, ignores these, and so would the commands it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Perceptron(Model):
    """64-16-10."""

    name: Literal["perceptron"] = "perceptron"
    dropout: float = 0.0

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(16, classes),
        )


class Convolutional(Model):
    """One convolution of four channels, BatchNorm and dropout."""

    name: Literal["convolutional"] = "convolutional"
    dropout: float = 0.0

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout2d(self.dropout),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(64, classes),
        )


def roles(member: list[int], count: int, validation: int = 12, reference: int = 16) -> Tensor:
    """A role for each model and example: every model draws its own rows, all the rest outside."""
    role = torch.zeros((len(member), count), dtype=torch.uint8)
    for m, members in enumerate(member):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(m))
        used = order[: 2 * members + validation + reference]
        parts = torch.split(used, [members, members, validation, reference])
        whats = (Role.MEMBER, Role.NON_MEMBER, Role.VALIDATION, Role.REFERENCE)
        for part, what in zip(parts, whats, strict=True):
            role[m, part] = what
    return role


@pytest.fixture(scope="session")
def digits() -> Examples:
    """300 digits that may be mirrored and shifted."""
    data = load_digits()
    return Examples(
        x=torch.from_numpy(data.images[:300]).to(torch.uint8).unsqueeze(1),
        y=torch.from_numpy(data.target[:300]).to(torch.int64),
        classes=tuple(str(digit) for digit in range(10)),
        mean=torch.tensor(8.0),
        std=torch.tensor(8.0),
        augmentation=Augmentation(flip=True, crop=1),
    )


@pytest.fixture(scope="session")
def perceptron() -> Callable[..., Model]:
    """A model without BatchNorm."""
    return Perceptron


@pytest.fixture(scope="session")
def convolutional() -> Callable[..., Model]:
    """A model with BatchNorm."""
    return Convolutional


@pytest.fixture(scope="session")
def make_cohort(digits: Examples) -> Callable[..., Cohort]:
    """Builds a cohort in float64 on the digits; `training` options are keywords."""

    def make(
        member: list[int] | None = None,
        *,
        models: list[int] | None = None,
        model: Model | None = None,
        sparsifier: Sparsifier | None = None,
        defense: Defense | None = None,
        examples: Examples = digits,
        validation: int = 12,
        reference: int = 16,
        journal: Any = None,
        plan: bool = False,
        on_event: Any = None,
        workers: Any = None,
        limits: Any = None,
        **training: Any,
    ) -> Cohort:
        members = member or [40, 40]
        role = roles(members, len(examples), validation, reference)
        chosen = torch.tensor(range(len(members)) if models is None else models)
        options = {"epochs": 2, "batch_size": 16, "lr": 0.1, "precision": "fp64"}
        return Cohort(
            examples,
            role[chosen],
            100 + chosen,
            model=model or Perceptron(),
            sparsifier=sparsifier or Sparsifier(name="none"),
            defense=defense or Defense(name="none"),
            training=Training.model_validate(options | {"augment": False} | training),
            journal=journal,
            plan=plan,
            on_event=on_event,
            workers=workers,
            limits=limits,
        )

    return make
