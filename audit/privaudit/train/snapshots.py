"""What a fit has come to, kept on disk every few minutes for a run that goes on from there.

A snapshot is a unit of the journal, of K models that share their steps: one file, so that it is
whole or not there. It lies under a key that is made of the first model's own, and says which
models it is of. A fit that goes on from it ends with the bits that it would have had undisturbed,
for all randomness is keyed by seeds and epochs, and the rest is in here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from privaudit.errors import StoreError
from privaudit.networks.state import State, moved
from privaudit.store.journal import Journal, digest
from privaudit.store.unit_file import Schema, like
from privaudit.store.units import named_state, unpack_weights

logger = logging.getLogger(__name__)

SNAPSHOT = "snapshot"  # the name of its schema
_FORMAT = 1  # raised when a snapshot holds something else
_MODELS = "models"
_ANY_SIZE = 2**62


@dataclass(frozen=True)
class Progress:
    """K models between two epochs of a fit.

    Attributes:
        epoch: how many are done.
        now: where they are.
        best: where they were best in validation.
        running: (K,) bool: not stopped.
        history: (K, E, 3), as `Trained` has it.
        best_epoch: (K,) int64.
        best_accuracy: (K,) float64, -1 before the first.
    """

    epoch: int
    now: State
    best: State
    running: Tensor
    history: Tensor
    best_epoch: Tensor
    best_accuracy: Tensor

    @staticmethod
    def fresh(now: State, history: Tensor) -> Progress:
        """Before the first epoch."""
        count = len(history)
        nothing = torch.zeros(count, dtype=torch.int64)
        return Progress(0, now, now, nothing.bool(), history, nothing, nothing.double())

    def named(self) -> dict[str, Tensor]:
        """All of it, (K, ...) by name."""
        plain = {
            "epoch": torch.full((len(self.running),), self.epoch),
            "running": self.running,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
        }
        return plain | named_state("now", self.now) | named_state("best", self.best)

    @staticmethod
    def of(held: Mapping[str, Tensor], device: torch.device) -> Progress:
        """What `named` gave; weights on a device."""
        return Progress(
            int(held["epoch"][0]),
            unpack_weights("now", [held]).to(device),
            unpack_weights("best", [held]).to(device),
            held["running"],
            held["history"],
            held["best_epoch"],
            held["best_accuracy"],
        )


@dataclass(frozen=True)
class Snapshots:
    """Where the snapshots of models lie that share their steps.

    Attributes:
        journal: in which.
        way: how steps are taken: another keeps other things.
        keys: of the models' units.
        seconds: between two snapshots, at least.
    """

    journal: Journal
    way: str
    keys: tuple[str, ...]
    seconds: float

    def __getitem__(self, models: Tensor) -> Snapshots:
        """The same for some of the models, (k,) int64."""
        return replace(self, keys=tuple(self.keys[int(m)] for m in models))

    def found(self, fresh: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """What was kept of these models; None where nothing was, or it cannot be believed.

        Args:
            fresh: what would be kept of them now, to know what to expect.
        """
        count = len(self.keys)
        wanted = {
            name: torch.empty((count, *t.shape[1:]), dtype=t.dtype, device="meta")
            for name, t in fresh.items()
        }
        wanted[_MODELS] = torch.empty((count, 32), dtype=torch.uint8, device="meta")
        schema = replace(like(SNAPSHOT, wanted), first_format=False)
        held = self.journal.find(snapshot_key(self.keys[0], self.way), schema)
        return held if held and models_of(held) == self.keys else None

    def divide(self, parts: Sequence[Tensor]) -> None:
        """Make of the snapshot of all these models one for each part of them, (k,) int64 each."""
        first = snapshot_key(self.keys[0], self.way)
        if not self.journal.has(first):
            return
        schema = Schema(SNAPSHOT, _ANY_SIZE, _named_models, first_format=False)
        held = self.journal.find(first, schema)
        if held and models_of(held) == self.keys:
            for models in reversed(parts):  # the first takes the place of what is divided
                self[models].keep({n: t[models] for n, t in held.items() if n != _MODELS})

    def keep(self, tensors: Mapping[str, Tensor]) -> None:
        """Write what these models have come to; a disk that is full stops no fit."""
        models = torch.tensor([list(bytes.fromhex(key)) for key in self.keys], dtype=torch.uint8)
        values = moved(list(tensors.values()), torch.device("cpu"))
        # The best may be where the models are now, and a file of tensors shares no memory.
        held = {name: value.clone() for name, value in zip(tensors, values, strict=True)}
        held[_MODELS] = models
        try:
            self.journal.keep(SNAPSHOT, {snapshot_key(self.keys[0], self.way): held})
        except StoreError as error:
            logger.warning("no snapshot of a fit was kept: %s", error)

    def drop(self) -> None:
        """Remove them: the models' units are there."""
        for key in self.keys:  # any may be the first of a part
            self.journal.drop(snapshot_key(key, self.way))


class Beside(Protocol):
    """What watches a fit and has to go on with it."""

    def memory(self, now: State) -> dict[str, Tensor]:
        """What it has found so far, (K, ...) by name; for models that are here, before that."""

    def restore(self, held: Mapping[str, Tensor]) -> None:
        """Go on from what `memory` gave."""


class Keeper:
    """Keeps snapshots of one fit while it goes on; the clock starts when this is made.

    Args:
        snapshots: where.
        beside: what else goes on with the fit.
    """

    def __init__(self, snapshots: Snapshots, beside: Beside | None = None) -> None:
        self._snapshots, self._beside = snapshots, beside
        self._last = time.monotonic()

    def found(self, fresh: Mapping[str, Tensor], now: State) -> dict[str, Tensor] | None:
        """What there is to go on from; `beside` has gone on from it already."""
        held = self._snapshots.found({**fresh, **self._watched(now)})
        if held is not None:
            if self._beside:
                self._beside.restore(without("beside:", held))
            words = "a fit of %d models goes on after epoch %d, from its snapshot"
            logger.info(words, len(self._snapshots.keys), int(held["epoch"][0]))
        return held

    def due(self) -> bool:
        """Whether the last snapshot is old enough for another."""
        return time.monotonic() - self._last >= self._snapshots.seconds

    def keep(self, tensors: Mapping[str, Tensor], now: State) -> None:
        """Keep a snapshot."""
        self._snapshots.keep({**tensors, **self._watched(now)})
        self._last = time.monotonic()

    def _watched(self, now: State) -> dict[str, Tensor]:
        held = self._beside.memory(now) if self._beside else {}
        return {f"beside:{name}": tensor for name, tensor in held.items()}


def kept_together(
    journal: Journal, way: str, keys: Sequence[str], most: int
) -> list[tuple[str, ...]]:
    """Groups among some units whose models have a snapshot together.

    Args:
        journal: in which.
        way: how their steps are taken.
        keys: of the units that are missing.
        most: bytes that a snapshot of all of them takes at most.
    """
    groups: list[tuple[str, ...]] = []
    left = set(keys)
    for key in keys:
        snapshot = snapshot_key(key, way)
        if key not in left or not journal.has(snapshot):
            continue
        held = journal.find(snapshot, Schema(SNAPSHOT, most, _named_models, first_format=False))
        group = models_of(held) if held else ()
        if group[:1] == (key,) and left.issuperset(group):
            groups.append(group)
            left.difference_update(group)
    return groups


def snapshot_key(key: str, way: str) -> str:
    """Of the snapshot of models whose first has this unit."""
    return digest(key, SNAPSHOT, way, _FORMAT)


def models_of(held: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The keys of the units that a snapshot is on the way to."""
    return tuple(bytes(row).hex() for row in held[_MODELS].tolist())


def without(start: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What has names that begin so, by the rest of them."""
    return {n.removeprefix(start): t for n, t in held.items() if n.startswith(start)}


def _named_models(tensors: Mapping[str, Tensor]) -> str:
    models = tensors.get(_MODELS)
    if models is None or models.dtype != torch.uint8 or models.ndim != 2 or models.shape[1] != 32:
        return "it does not say of which models it is"
    return ""
