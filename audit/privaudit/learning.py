"""Trains the networks that attacks learn with: those of many targets at once, on the device.

An attack that learns from shadow models trains one small network, or a few, for every target.
Trained one after another they spend their time on calls. Here the networks of T targets share
their steps: every tensor has a first axis of T problems, each with its own examples, order and
randomness, so that a target's network is the same in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from privaudit.keys import fold, words

_device: ContextVar[torch.device | None] = ContextVar("device", default=None)
_MOST_ON_CPU = 4  # problems that share steps: more of them leave the caches
_MOST_BYTES = 2**28  # of their examples


@contextmanager
def learning_on(device: torch.device) -> Iterator[None]:
    """Let attacks learn on a device for as long as the block lasts."""
    before = _device.set(device)
    try:
        yield
    finally:
        _device.reset(before)


def learning_device() -> torch.device:
    """Where an attack's networks are to be trained: the run's device; else the CPU."""
    return _device.get() or torch.device("cpu")


@dataclass(frozen=True)
class Problem:
    """What one network learns from.

    Attributes:
        x: (n, F).
        y: (n,) the labels.
        weight: (n,) of each example in the mean over its batch.
        generator: on the CPU, of the order and of what `dropped` draws.
    """

    x: Tensor
    y: Tensor
    weight: Tensor
    generator: torch.Generator


@dataclass(frozen=True)
class Batch:
    """The examples of one step, of T problems.

    Attributes:
        epoch: from 0.
        x: (T, B, F).
        y: (T, B).
        weight: (T, B).
    """

    epoch: int
    x: Tensor
    y: Tensor
    weight: Tensor


def learn(
    problems: Sequence[Problem],
    step: Callable[[Batch], None],
    *,
    epochs: int,
    batch_size: int,
) -> None:
    """Pass over T problems' examples together, each in an order of its own.

    Args:
        problems: with as many examples each (`alike`).
        step: takes a batch of all problems, and moves the weights.
        epochs: passes over the examples, each in a new order.
        batch_size: at most so many examples of a problem in a batch; an epoch's batches are of
            one size, give or take one.
    """
    device = learning_device()
    x, y, weight = (
        torch.stack([getattr(problem, name) for problem in problems]).to(device)
        for name in ("x", "y", "weight")
    )
    count = x.shape[1]
    batches, which = ceil(count / batch_size), torch.arange(len(x), device=device)[:, None]
    with _one_thread():
        for epoch in range(epochs):
            orders = [torch.randperm(count, generator=p.generator) for p in problems]
            order = torch.stack(orders).to(device)
            parts = (v[which, order].tensor_split(batches, 1) for v in (x, y, weight))
            for batch in zip(*parts, strict=True):
                step(Batch(epoch, *batch))


def alike(problems: Sequence[Problem]) -> list[list[int]]:
    """The numbers of the problems that can share their steps, group by group.

    They have as many examples with as many features, and are few enough for caches and memory.
    """
    most = _MOST_ON_CPU if learning_device().type == "cpu" else len(problems)
    groups: dict[tuple[int, ...], list[list[int]]] = {}
    for number, problem in enumerate(problems):
        same = groups.setdefault(tuple(problem.x.shape), [[]])
        size = problem.x.numel() * problem.x.element_size()
        if same[-1] and len(same[-1]) >= min(most, _MOST_BYTES // max(1, size)):
            same.append([])
        same[-1].append(number)
    return [group for same in groups.values() for group in same]


class Dropper:
    """Drops numbers of T problems' hidden layers, each by the problem's own randomness.

    They are chosen by a hash of a number that the problem's generator has drawn once: the same
    on every device, and nothing is sent to it in a step.

    Args:
        rate: the chance of each number to become 0, 0 to 1; the others grow by 1 / (1 - rate).
        generators: of the T problems.
    """

    def __init__(self, rate: float, generators: Iterable[torch.Generator]) -> None:
        self._kept = 1 - rate
        self._last = round(self._kept * 2**32) - 2**31 - 1  # of the words that keep
        self._generators = list(generators)
        self._keys: Tensor | None = None

    def mask(self, x: Tensor) -> Tensor:
        """What to multiply x (T, ...) by: (T, ...) of its type, on its device."""
        if self._keys is None:
            drawn = [int(torch.randint(2**62, (), generator=g)) for g in self._generators]
            self._keys = torch.tensor(drawn, device=x.device)
            self._zero = torch.zeros_like(self._keys)  # a number would be sent to the device
        self._keys = fold(self._keys, self._zero)
        kept = words(self._keys, x[0].numel()) <= self._last
        return kept.view(x.shape).to(x.dtype).div_(self._kept)

    def __call__(self, x: Tensor) -> Tensor:
        """The numbers x (T, ...) with some of them dropped."""
        return x * self.mask(x)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for tensors so small that sharing them out costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
