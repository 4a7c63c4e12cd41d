"""What K models are given in each step of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from privaudit.keys import derive, fold
from privaudit.networks.state import Rows
from privaudit.train.batch import Batch
from privaudit.train.dataset import DeviceDataset, epoch_order, poisson_order
from privaudit.train.objective import Objective, keys_of_purposes
from privaudit.train.sparse import SparseRows
from privaudit.training import Training

_DRAWN = 2**20  # moves drawn at once, which cost as much as those of a single step
_REFERENCE = 1 << 32  # purpose of a step's key: its reference examples


@dataclass(frozen=True)
class Epoch:
    """The examples of one epoch.

    Attributes:
        batches: step after step; all of them of one size.
        steps: (K,) each model's own; later batches are not for it.
        seen: (K,) how many examples that makes.
    """

    batches: Iterator[Batch]
    steps: Tensor
    seen: Tensor


class _Examples(NamedTuple):
    """One step's examples and labels of K models."""

    x: Tensor
    y: Tensor


class BatchLoader:
    """The examples of K models, drawn anew for each epoch.

    Args:
        objective: says what a batch has to hold.
        data: the examples.
        trainable: (K, P), 0 where a weight stays as it is; None: all move.
        rows: K models' examples.
        seeds: K models' own, for this fit.
        options: the schedule.
        dtype: of weights.
    """

    def __init__(
        self,
        objective: Objective,
        data: DeviceDataset,
        trainable: Tensor | None,
        rows: list[Rows],
        seeds: list[int],
        options: Training,
        dtype: torch.dtype,
    ) -> None:
        self._objective, self._data, self._rows, self._options = objective, data, rows, options
        self._seeds, self._size = seeds, options.batch_size
        self._device = data.y.device
        self._keys = torch.tensor(seeds, device=self._device)
        self._dtype = dtype
        self._free = None
        if objective.defense.per_example and trainable is not None:
            self._free = trainable.to(dtype)

    def epoch(self, epoch: int, seeded: bool = False) -> Epoch:
        """The examples of an epoch, from 0; `seeded`: batches have their keys on the host."""
        order, real, steps = self._members(epoch)
        seen, expected = steps * self._size, None
        if real is not None:
            seen = real.sum((1, 2)).cpu()
            sizes = torch.tensor([len(r.member) for r in self._rows]) / steps
            expected = sizes.to(self._device, self._dtype)
        on_host = None
        if seeded and self._device.type != "cpu":
            on_host = _step_keys(torch.tensor(self._seeds), epoch, order.shape[1])
        return Epoch(self._batches(epoch, order, real, expected, on_host), steps, seen)

    def _batches(
        self,
        epoch: int,
        order: Tensor,
        real: Tensor | None,
        expected: Tensor | None,
        on_host: Tensor | None,
    ) -> Iterator[Batch]:
        models, steps = order.shape[:2]
        keys = _step_keys(self._keys, epoch, steps)
        purposes = keys_of_purposes(keys)
        epochs = torch.full((models,), epoch, device=self._device)
        reference = self._reference(epoch, steps)
        others: Iterator[_Examples | None] = repeat(None)
        if reference is not None:
            others = self._examples(reference, fold(keys, _REFERENCE))
        for s, (members, other) in enumerate(
            zip(self._examples(order, keys), others, strict=False)
        ):
            yield Batch(
                x=members.x,
                y=members.y,
                key=keys[:, s],
                keys=purposes[:, s],
                epoch=epochs,
                reference_x=other.x if other else None,
                reference_y=other.y if other else None,
                real=None if real is None else real[:, s],
                expected=expected,
                free=self._free,
                seed=None if on_host is None else on_host[:, s],
            )

    def _examples(self, rows: Tensor, keys: Tensor) -> Iterator[_Examples]:
        y = self._data.y[rows]
        for s, x in enumerate(self._inputs(rows, keys)):
            # Sparse rows stand for a tensor where the first layer knows what to do with them.
            yield _Examples(cast("Tensor", x), y[:, s])

    def _inputs(self, rows: Tensor, keys: Tensor) -> Iterator[Tensor | SparseRows]:
        """What K models see in each of S steps, from rows (K, S, B) and keys (K, S)."""
        data = self._data
        if self._objective.network.column_by_column and data.sparse:
            yield from data.sparse.batches(rows)
            return
        augment = self._options.augment and data.augments
        count = rows.shape[2]
        together = max(1, _DRAWN // max(1, len(rows) * count))
        for first in range(0, rows.shape[1], together):
            some = slice(first, first + together)
            moves = data.moves(keys[:, some], count) if augment else None
            for s, now in enumerate(rows[:, some].unbind(1)):
                yield data.plain(now) if moves is None else data.moved(now, moves.at(s))

    def _members(self, epoch: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """Rows (K, S, B) of an epoch's batches, which of them count, and each model's steps (K,).

        None counts as all; shorter epochs and, under Poisson sampling, smaller batches are padded.
        """
        if self._objective.defense.sampling != "poisson":
            orders = self._orders("member", epoch)
            steps = torch.tensor([len(o) for o in orders])
            return _padded(orders).to(self._device), None, steps
        drawn = [
            poisson_order(r.member, derive(seed, "poisson"), epoch, self._size)
            for r, seed in zip(self._rows, self._seeds, strict=True)
        ]
        steps = torch.tensor([len(order) for order, _ in drawn])
        order, real = (_padded(parts).to(self._device) for parts in zip(*drawn, strict=True))
        return order, real, steps

    def _reference(self, epoch: int, steps: int) -> Tensor | None:
        """(K, steps, B) rows of reference examples, gone through as often as it takes."""
        if not self._objective.reference:
            return None
        orders = [
            o.repeat(-(-steps // len(o)), 1)[:steps] for o in self._orders("reference", epoch)
        ]
        return torch.stack(orders).to(self._device)

    def _orders(self, role: str, epoch: int) -> list[Tensor]:
        return [
            epoch_order(getattr(r, role), derive(seed, role), epoch, self._size)
            for r, seed in zip(self._rows, self._seeds, strict=True)
        ]


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """(K, S, B) of K tensors (s, b), filled up with zeros."""
    steps, size = (max(p.shape[axis] for p in parts) for axis in (0, 1))
    return torch.stack([pad(p, (0, size - p.shape[1], 0, steps - p.shape[0])) for p in parts])


def _step_keys(own: Tensor, epoch: int, steps: int) -> Tensor:
    """(K, S): the key of every step of an epoch, from K models' own."""
    return fold(fold(own, epoch)[:, None], torch.arange(steps, device=own.device))
