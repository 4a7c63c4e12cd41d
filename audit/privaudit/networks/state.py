"""The weights of K models, what training leaves of them, and the examples they train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from privaudit.values import Role

Buffers = dict[str, Tensor]


@dataclass(frozen=True)
class State:
    """All that a model is in the middle of training, for K models; of one, without the first axis.

    Attributes:
        flat: (K, P) weights.
        buffers: (K, ...) by name.
        companion: (K, Pc) the companion's weights; Pc is 0 without one.
        companion_buffers: (K, ...) by name.
        memory: (K, ...) by name: what the sparsifier remembers; no answer depends on it.
    """

    flat: Tensor
    buffers: Buffers
    companion: Tensor
    companion_buffers: Buffers
    memory: Buffers = field(default_factory=dict)

    def to(self, device: torch.device) -> State:
        """The same on a device; what has to move does so in one copy for each type of numbers."""
        if self.flat.device == device:
            return self._each(lambda t: t.to(device))
        tensors: list[Tensor] = []
        self._each(lambda t: tensors.append(t) or t)  # type: ignore[func-returns-value]
        there = iter(moved(tensors, device))
        return self._each(lambda t: next(there))

    def clone(self) -> State:
        """A copy that shares no memory."""
        return self._each(Tensor.clone)

    def __getitem__(self, models: Tensor | slice) -> State:
        """Of the given models, (k,) int64; a slice of them shares memory."""
        return self._each(lambda t: t[models])

    def one(self, model: int) -> State:
        """Of one model, without the leading axis; shares memory."""
        return self._each(lambda t: t[model])

    def alone(self) -> State:
        """Without companions: for what these have no part in, whoever they are."""
        return replace(self, companion=self.companion[..., :0], companion_buffers={})

    def beside(self, other: State) -> State:
        """With the companions of another state, where it was trained without its own."""
        if self.companion.shape == other.companion.shape:
            return self
        return replace(self, companion=other.companion, companion_buffers=other.companion_buffers)

    def where(self, chosen: Tensor, other: State) -> State:
        """Of each model its own if chosen, (K,) bool, else the other's."""

        def pick(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(chosen.view((-1,) + (1,) * (mine.ndim - 1)), mine, theirs)

        return State(
            pick(self.flat, other.flat),
            {n: pick(b, other.buffers[n]) for n, b in self.buffers.items()},
            pick(self.companion, other.companion),
            {n: pick(b, other.companion_buffers[n]) for n, b in self.companion_buffers.items()},
            {n: pick(t, other.memory[n]) for n, t in self.memory.items()},
        )

    @property
    def rest(self) -> tuple[Tensor, Buffers, Buffers]:
        """What a step takes beside weights, buffers and batch: the companion's, and the memory."""
        return self.companion, self.companion_buffers, self.memory

    @property
    def remembered(self) -> int:
        """Bytes of one model's memory."""
        return sum(t[0].nbytes for t in self.memory.values())

    def _each(self, change: Callable[[Tensor], Tensor]) -> State:
        return State(
            change(self.flat),
            {n: change(b) for n, b in self.buffers.items()},
            change(self.companion),
            {n: change(b) for n, b in self.companion_buffers.items()},
            {n: change(t) for n, t in self.memory.items()},
        )


@dataclass(frozen=True)
class Trained:
    """What a fit leaves of K models.

    Attributes:
        last: after the last epoch.
        best: after the epoch of best validation accuracy (the first of equals); the last epoch
            where there is no validation.
        history: (K, E, 3): loss, training accuracy and validation accuracy of each epoch; NaN
            where a model had stopped or has no validation.
        best_epoch: (K,) int64, from 0.
    """

    last: State
    best: State
    history: Tensor
    best_epoch: Tensor

    def on_host(self) -> Trained:
        """The same on the host."""
        host = torch.device("cpu")
        return replace(self, last=self.last.to(host), best=self.best.to(host))


@dataclass(frozen=True)
class Rows:
    """One model's examples by role, each (n,) int64."""

    member: Tensor
    validation: Tensor
    reference: Tensor

    @classmethod
    def of(cls, role: Tensor) -> Rows:
        """From the `Role` of each example, (N,) uint8."""
        used = Role.MEMBER, Role.VALIDATION, Role.REFERENCE
        return cls(*((role == what).nonzero()[:, 0] for what in used))


def packed(tensors: Sequence[Tensor]) -> dict[torch.dtype, Tensor]:
    """The numbers of many tensors side by side, (n,) for each type of numbers, in their order."""
    kinds = dict.fromkeys(t.dtype for t in tensors)
    return {kind: torch.cat([t.reshape(-1) for t in tensors if t.dtype == kind]) for kind in kinds}


def unpacked(flat: Mapping[torch.dtype, Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of such shapes and types from what `packed` gave; they share its memory."""
    sizes = {kind: [t.numel() for t in like if t.dtype == kind] for kind in flat}
    parts = {kind: iter(torch.split(numbers, sizes[kind])) for kind, numbers in flat.items()}
    return [next(parts[t.dtype]).view(t.shape) for t in like]


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors on another device, by one copy for each type of numbers, not one for each tensor.

    A copy to the host waits for the device each time, whatever its size. Where the device has no
    room to lay them side by side, each goes alone.
    """
    away = [t for t in tensors if t.device != device]
    try:
        flat = {kind: numbers.to(device) for kind, numbers in packed(away).items()}
        there = iter(unpacked(flat, away))
    except torch.OutOfMemoryError:
        there = iter([t.to(device) for t in away])
    return [t if t.device == device else next(there) for t in tensors]


def lost_epochs(history: Tensor) -> Tensor:
    """(K,) int64: each model's first epoch, from 1, whose loss is NaN or infinite; 0: none.

    Args:
        history: (K, E, 3) as `Trained` has it; an epoch that a model did not train has no
            accuracy either.
    """
    lost = ~history[..., 0].isfinite() & history[..., 1].isfinite()
    never = torch.zeros((len(lost), 1), dtype=torch.bool)
    return torch.cat([never, lost], 1).int().argmax(1)
