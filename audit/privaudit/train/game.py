"""The second player's turns: before each step of the models, batches and answers of its own.

It learns what an attacker learns from: answers in evaluation mode to examples as they are, neither
augmented nor changed by the defense. Each of its steps draws its own members and reference
examples (Nasr et al. 2018, algorithm 1). The models stand still meanwhile, so that they answer the
batches of several of its steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from privaudit.keys import derive, fold
from privaudit.networks.state import Rows
from privaudit.train.batch import CompanionBatch
from privaudit.train.dataset import DeviceDataset, epoch_order
from privaudit.train.objective import Objective, keys_of_purposes

_TURN = 1 << 33  # purpose of an epoch's key: the turns of companions
_AT_ONCE = 8  # of its steps whose batches are answered at once, as memory is finite


class Turn(NamedTuple):
    """What K companions see before one step of their models, in S steps of their own.

    Attributes:
        rows: (K, S, n) int64: B members, then as many reference examples, if the defense asks.
        members: B.
        key: (K, S) int64: each model's own for each step.
        epoch: (K,) int64, from 0.
        seed: (K, S) int64 on the host: the key where that is not, for ways that seed generators.
    """

    rows: Tensor
    members: int
    key: Tensor
    epoch: Tensor
    seed: Tensor | None


class TurnLoader:
    """The turns of K companions, drawn anew for each epoch.

    Args:
        objective: says whether there are reference examples to draw.
        data: the examples.
        rows: K models' examples.
        seeds: K models' own, for this fit.
        size: examples in a batch.
        steps: of the companion in each turn.
    """

    def __init__(
        self,
        objective: Objective,
        data: DeviceDataset,
        rows: list[Rows],
        seeds: list[int],
        size: int,
        steps: int,
    ) -> None:
        self._data, self._rows, self._seeds = data, rows, seeds
        self._size, self._steps = size, steps
        self._roles = ("member", "reference") if objective.reference else ("member",)

    def epoch(self, epoch: int, count: int, seeded: bool = False) -> Iterator[Turn]:
        """The `count` turns of an epoch, from 0; `seeded`: they have their keys on the host."""
        device, steps = self._data.y.device, self._steps
        drawn = [self._drawn(role, epoch, count * steps) for role in self._roles]
        rows = torch.cat(drawn, -1).view(len(self._rows), count, steps, -1).to(device)
        on_host = _keys(torch.tensor(self._seeds), epoch, count, steps)
        keys = on_host.to(device)
        epochs = torch.full((len(keys),), epoch, device=device)
        kept = on_host if seeded and device.type != "cpu" else None
        for turn in range(count):
            seed = None if kept is None else kept[:, turn]
            yield Turn(rows[:, turn], self._size, keys[:, turn], epochs, seed)

    def _drawn(self, role: str, epoch: int, count: int) -> Tensor:
        """(K, count, B) rows: permutations of each model's own, one after another."""
        orders = []
        for rows, seed in zip(self._rows, self._seeds, strict=True):
            own, passes = derive(seed, "companion", role, epoch), 0
            order = torch.empty((0, self._size), dtype=torch.int64)
            parts = [order]
            while sum(map(len, parts)) < count:
                parts.append(epoch_order(getattr(rows, role), own, passes, self._size))
                passes += 1
            orders.append(torch.cat(parts)[:count])
        return torch.stack(orders)


def answered(
    turn: Turn, data: DeviceDataset, ask: Callable[[Tensor], Tensor]
) -> Iterator[CompanionBatch]:
    """The batches of a turn, one for each step.

    Args:
        turn: whose.
        data: the examples.
        ask: gives K models' answers (K, n, C) in evaluation mode, to examples (K, n, ...).
    """
    purposes, b = keys_of_purposes(turn.key), turn.members
    for first in range(0, turn.rows.shape[1], _AT_ONCE):
        rows = turn.rows[:, first : first + _AT_ONCE]
        logits = ask(data.plain(rows.flatten(1))).reshape(*rows.shape, -1)
        y = data.y[rows]
        others = rows.shape[2] > b
        for s in range(rows.shape[1]):
            yield CompanionBatch(
                logits=logits[:, s, :b],
                y=y[:, s, :b],
                key=turn.key[:, first + s],
                keys=purposes[:, first + s],
                epoch=turn.epoch,
                reference_logits=logits[:, s, b:] if others else None,
                reference_y=y[:, s, b:] if others else None,
                seed=None if turn.seed is None else turn.seed[:, first + s],
            )


def _keys(own: Tensor, epoch: int, count: int, steps: int) -> Tensor:
    """(K, count, steps): the key of every step of the companions in an epoch."""
    of_epoch = fold(fold(own, epoch), _TURN)
    return fold(of_epoch[:, None], torch.arange(count * steps)).view(-1, count, steps)
