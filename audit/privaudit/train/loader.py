"""What K models are given in each step of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from privaudit.keys import derive, fold
from privaudit.networks.state import Rows
from privaudit.train.dataset import DeviceDataset, epoch_order, poisson_order
from privaudit.train.objective import Objective
from privaudit.train.sparse import SparseRows
from privaudit.training import Training

_REFERENCE = 1 << 32  # purpose of a step's key: its reference examples


@dataclass(frozen=True)
class Epoch:
    """The examples of one epoch.

    Attributes:
        batches: step after step, what `Objective` calls a batch; all of them of one size.
        steps: (K,) each model's own; later batches are not for it.
        seen: (K,) how many examples that makes.
    """

    batches: Iterator[dict[str, Any]]
    steps: Tensor
    seen: Tensor


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
        self._game, self._data, self._rows, self._options = objective, data, rows, options
        self._seeds, self._size = seeds, options.batch_size
        self._device = data.y.device
        self._keys = torch.tensor(seeds, device=self._device)
        self._dtype = dtype
        self._free = None
        if objective.defense.per_example and trainable is not None:
            self._free = trainable.to(dtype)

    def epoch(self, epoch: int) -> Epoch:
        """The examples of an epoch, from 0."""
        order, real, steps = self._members(epoch)
        common = {"epoch": torch.full((len(steps),), epoch, device=self._device)}
        seen = steps * self._size
        if real is not None:
            seen = real.sum((1, 2)).cpu()
            sizes = torch.tensor([len(r.member) for r in self._rows]) / steps
            common["count"] = sizes.to(self._device, self._dtype)
        if self._free is not None:
            common["free"] = self._free
        return Epoch(self._batches(epoch, order, real, common), steps, seen)

    def _batches(
        self, epoch: int, order: Tensor, real: Tensor | None, common: dict[str, Tensor]
    ) -> Iterator[dict[str, Any]]:
        steps = order.shape[1]
        keys = fold(fold(self._keys, epoch)[:, None], torch.arange(steps, device=self._device))
        reference = self._reference(epoch, steps)
        others: Iterator[dict[str, Any]] = repeat({})
        if reference is not None:
            others = self._examples("reference_", reference, fold(keys, _REFERENCE))
        own = self._examples("", order, keys)
        for s, (one, other) in enumerate(zip(own, others, strict=False)):
            batch = one | other | common | {"key": keys[:, s]}
            yield batch if real is None else batch | {"real": real[:, s]}

    def _examples(self, name: str, rows: Tensor, keys: Tensor) -> Iterator[dict[str, Any]]:
        y = self._data.y[rows]
        for s, x in enumerate(self._inputs(rows, keys)):
            yield {f"{name}x": x, f"{name}y": y[:, s]}

    def _inputs(self, rows: Tensor, keys: Tensor) -> Iterator[Tensor | SparseRows]:
        """What K models see in each of S steps, from rows (K, S, B) and keys (K, S)."""
        data = self._data
        if self._game.network.column_by_column and data.sparse:
            yield from data.sparse.batches(rows)
            return
        augment = self._options.augment and data.augments
        for s in range(rows.shape[1]):
            own = rows[:, s]
            yield data.augmented(own, keys[:, s]) if augment else data.plain(own)

    def _members(self, epoch: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """Rows (K, S, B) of an epoch's batches, which of them count, and each model's steps (K,).

        None counts as all; shorter epochs and, under Poisson sampling, smaller batches are padded.
        """
        if self._game.defense.sampling != "poisson":
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
        if not self._game.defense.reference:
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
