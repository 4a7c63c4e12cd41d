"""A fit of as many models at once as the device's memory holds, here or in another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from privaudit.errors import PrivauditError
from privaudit.jobs.local import SharedExamples, Tell, own_device
from privaudit.store.units import Unit
from privaudit.train.dataset import DeviceDataset
from privaudit.train.fit import EpochTold, Fit, Match, train_units
from privaudit.train.snapshots import Snapshots


@dataclass(frozen=True)
class Part:
    """Models of a fit that share their steps.

    Attributes:
        fit: theirs.
        match: where to stop each; None: at its end.
        snapshots: where what they have come to is kept; None: nowhere.
    """

    fit: Fit
    match: Match | None
    snapshots: Snapshots | None = None

    def __len__(self) -> int:
        """How many models."""
        return len(self.fit.rows)

    def __getitem__(self, models: Tensor) -> Part:
        """The same for some of the models, (k,) int64."""
        return Part(
            self.fit[models],
            None if self.match is None else self.match[models],
            None if self.snapshots is None else self.snapshots[models],
        )

    def divided(self, most: int) -> list[Part]:
        """Parts of so many models at most, each with its share of what was kept."""
        parts = torch.split(torch.arange(len(self)), most)
        if self.snapshots and len(parts) > 1:
            self.snapshots.divide(parts)
        return [self[models] for models in parts]


def train_fitting(
    part: Part,
    data: DeviceDataset,
    on_epoch: EpochTold,
    on_smaller: Callable[[int, int], object],
) -> list[Unit]:
    """The units of models that share their steps; of fewer at once where memory is short.

    Args:
        part: the models.
        data: the examples.
        on_epoch: told after each epoch its number and its history, (K, 3).
        on_smaller: told how many were too many, and how many are tried instead.

    Raises:
        PrivauditError: the memory is too small for one.
    """
    units: list[Unit] = []
    waiting = [part]
    while waiting:
        now, rest = waiting[0], waiting[1:]
        if (made := _tried(now, data, on_epoch)) is not None:
            units += made
            waiting = rest
            continue
        torch.cuda.empty_cache()
        fewer = -(-len(now) // 2)
        on_smaller(len(now), fewer)
        waiting = [piece for one in waiting for piece in one.divided(fewer)]
    return units


def _tried(part: Part, data: DeviceDataset, on_epoch: EpochTold) -> list[Unit] | None:
    """The units, or None where the models are too many; what they took is free again then."""
    try:
        return train_units(part.fit, part.match, data, on_epoch, part.snapshots)
    except torch.OutOfMemoryError as error:
        if len(part) > 1:
            return None
        raise PrivauditError(
            "the device has not enough memory to train one network: lower "
            "training.batch_size, or use a smaller model"
        ) from error


def train_units_remotely(
    tell: Tell, where: SharedExamples, dtype: torch.dtype, part: Part
) -> list[Unit]:
    """What `train_fitting` gives, in a process of `Workers`, on that process's own device.

    Tells about every epoch ("epoch", its number, its history as a list), and ("smaller", how many
    models were too many, how many are tried instead).
    """
    device = own_device()
    part = replace(part, fit=replace(part.fit, objective=part.fit.objective.to(device)))

    def on_epoch(epoch: int, history: Tensor) -> None:
        tell(("epoch", epoch, history.tolist()))

    def on_smaller(*counts: int) -> None:
        tell(("smaller", *counts))

    return train_fitting(part, _dataset(where, dtype, device), on_epoch, on_smaller)


@lru_cache(maxsize=1)  # for the next call
def _dataset(where: SharedExamples, dtype: torch.dtype, device: torch.device) -> DeviceDataset:
    return DeviceDataset(where.load(), device, dtype)
