"""The plain way: one model after another, each called as its author would call it.

It takes what `torch.vmap` cannot: recurrent layers, dropout inside attention, `F.dropout` and
`torch.randn` in `forward`, branches on data, `.item()`, NumPy. Whatever draws from a global
generator draws under the model's state key, so that a model has the weights it would have alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from privaudit.keys import derive, seeded
from privaudit.networks.state import Buffers, State
from privaudit.networks.vmapped import one_by_one, stacked_results
from privaudit.train.batch import Batch, CompanionBatch, StepResult
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import Objective, derivatives
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.way import Steps
from privaudit.training import Training


def plain_steps(
    objective: Objective,
    count: int,
    data: DeviceDataset,
    options: Training,
    optimizer: Optimizer,
) -> Steps:
    """The steps of `count` models, one model after another."""
    alone = _Alone(objective.one_at_a_time())
    return Steps(
        lambda named, now, batch: alone.gradients(now, batch),
        lambda named, now, batch: alone.companion_gradients(now, batch),
        one_by_one(objective.project, count),
        one_by_one(objective.remember, count),
        seeded=True,
    )


class _Alone:
    """Gradients of models that are called one after another."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def gradients(self, now: State, batch: Batch) -> StepResult:
        """Of K models' losses."""
        results = []
        for model, key in enumerate(_seeds(batch)):
            state, part = now.one(model), Batch._make(_one(batch, model))
            with seeded(derive(key, "step"), part.key.device):
                results.append(self._gradient(state, part))
        return StepResult(*stacked_results(results))

    def companion_gradients(
        self, now: State, batch: CompanionBatch
    ) -> tuple[list[Tensor | None], Buffers]:
        """Of K companions' losses, and their buffers."""
        network = self._objective.companion
        assert network is not None
        results = []
        for model, key in enumerate(_seeds(batch)):
            state, part = now.one(model), CompanionBatch._make(_one(batch, model))
            leaves = network.leaves(state.companion)
            with seeded(derive(key, "companion"), part.key.device):
                loss, after = self._objective.companion_loss(part, leaves, state.companion_buffers)
            gradients = derivatives(loss, leaves)
            detached = {name: buffer.detach() for name, buffer in after.items()}
            results.append(([gradients.get(name) for name in leaves], detached))
        return stacked_results(results)

    def _gradient(
        self, state: State, batch: Batch
    ) -> tuple[list[Tensor | None], Buffers, Tensor, Tensor]:
        objective, network = self._objective, self._objective.network
        if objective.defense.per_example:
            flat, buffers, loss, correct = objective.example_gradients(
                state.flat, state.buffers, batch, *state.rest
            )
            return list(network.views(flat).values()), buffers, loss, correct
        leaves = network.leaves(state.flat)
        loss, after, correct = objective.loss(leaves, state.buffers, batch, *state.rest)
        gradients = derivatives(loss, leaves)
        detached = {name: buffer.detach() for name, buffer in after.items()}
        return [gradients.get(name) for name in leaves], detached, loss.detach(), correct


def _seeds(batch: Batch | CompanionBatch) -> list[int]:
    """Of K models' generators."""
    seeds: list[int] = (batch.key if batch.seed is None else batch.seed).tolist()
    return seeds


def _one(batch: Batch | CompanionBatch, model: int) -> Iterator[Tensor | None]:
    """One model's parts of a batch."""
    return (None if part is None else part[model] for part in batch)
