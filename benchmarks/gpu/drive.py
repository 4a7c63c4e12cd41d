"""Every sparsifier and defense in double precision: on the device as on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from privaudit import (
    Augmentation,
    Defense,
    Examples,
    Model,
    Plugin,
    Role,
    Sparsifier,
    Training,
    load_plugins,
    overrides,
)
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN

_FEW: dict[str, dict[str, Any]] = {"imp": {"rounds": 1}}
"""Options of plugins that would else train longer than their answer needs."""

_SIDE, _COUNT = 8, 60


@dataclass(frozen=True)
class Pair:
    """A sparsifier under a defense, one of which is looked at.

    Attributes:
        name: its kind and name.
        sparsifier: made with its default options, but for `_FEW`.
        defense: likewise.
        model: a small network that both take.
    """

    name: str
    sparsifier: Sparsifier
    defense: Defense
    model: Model


def pairs() -> Iterator[Pair]:
    """Every installed sparsifier without a defense, and every defense of a dense network."""
    plugins = load_plugins()
    given: Any = plugins.get
    dense, none = given("sparsifier", "dense")(), given("defense", "none")()
    for kind in ("sparsifier", "defense"):
        for name, cls in sorted(plugins.of(kind).items()):
            one = cls(**_FEW.get(name, {}))
            norm: Any = "group" if getattr(one, "per_example", False) else "batch"
            yield Pair(f"{kind} {name}", *_sides(one, dense, none), CNN(norm=norm))


def _sides(one: Plugin, dense: Plugin, none: Plugin) -> tuple[Sparsifier, Defense]:
    sparsifier, defense = (one, none) if isinstance(one, Sparsifier) else (dense, one)
    assert isinstance(sparsifier, Sparsifier)
    assert isinstance(defense, Defense)
    return sparsifier, defense


def examples() -> Examples:
    """Images of nothing in three channels, which training mirrors and shifts."""
    draw = torch.Generator().manual_seed(0)
    shape = (_COUNT, 3, _SIDE, _SIDE)
    return Examples(
        x=torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8),
        y=torch.randint(0, 4, (_COUNT,), generator=draw),
        classes=tuple("0123"),
        mean=torch.tensor([120.0, 120, 120])[:, None, None],
        std=torch.tensor([60.0, 61, 62])[:, None, None],
        augmentation=Augmentation(flip=True, crop=1),
    )


def roles() -> Tensor:
    """Of two models whose numbers of members differ, (2, N)."""
    draw = torch.Generator().manual_seed(1)
    role = torch.full((2, _COUNT), Role.REFERENCE, dtype=torch.uint8)
    for model, (members, others) in enumerate(((20, 17), (16, 20))):
        order = torch.randperm(_COUNT, generator=draw)
        role[model, order[:members]] = Role.MEMBER
        role[model, order[members : members + others]] = Role.NON_MEMBER
        role[model, order[members + others : members + others + 8]] = Role.VALIDATION
    return role


def levels(pair: Pair, device: torch.device, **training: Any) -> list[Tensor]:
    """Logits (2, N, C) of every level that a sparsifier reaches, trained two epochs each."""
    options = {"epochs": 2, "batch_size": 8, "lr": 0.05, "precision": "fp64", "stack": 2}
    cohort = Cohort(
        examples(),
        roles(),
        torch.tensor([5, 6]),
        model=pair.model,
        sparsifier=pair.sparsifier,
        defense=pair.defense,
        training=Training.model_validate(options | training),
        device=device,
    )
    answers = []
    for _ in pair.sparsifier.sparsify(cohort):
        shown = cohort
        if overrides(pair.defense, "finish"):
            shown = cohort.fork()
            pair.defense.finish(shown)
        answers.append(shown.logits().double())
    return answers


@dataclass(frozen=True)
class Compared:
    """How a pair does on a device.

    Attributes:
        seconds: on the device.
        difference: the largest of any logit, as a share of the largest logit.
    """

    seconds: float
    difference: float


def compared(pair: Pair, device: torch.device) -> Compared:
    """Train a pair on the CPU and on the device, and compare their answers."""
    expected = levels(pair, torch.device("cpu"))
    started = time.perf_counter()
    found = levels(pair, device)
    seconds = time.perf_counter() - started
    if len(found) != len(expected):
        return Compared(seconds, float("inf"))
    scale = max(float(logits.abs().max()) for logits in expected)
    differing = max(
        float((a - b).abs().max().nan_to_num(float("inf")))
        for a, b in zip(expected, found, strict=True)
    )
    return Compared(seconds, differing / scale)
