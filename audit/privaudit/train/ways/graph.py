"""The way of CUDA graphs: each model's step is recorded once, and replayed beside the others'.

A step of a small network is hundreds of short kernels, and the host needs longer to launch them
than the device to run them. A recorded step is one launch; K models' are replayed on K streams, so
that their kernels share the device.

What a recording reads and writes has to stay where it is: the weights, the batch and all else that
a step depends on are copied into tensors of its own before each replay, and it leaves what comes
out in others. Where there is no CUDA the same step runs unrecorded, which is how it is tested.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privaudit.networks.state import Buffers, State
from privaudit.train.batch import Batch, StepResult
from privaudit.train.dataset import DeviceDataset
from privaudit.train.device_rules import step_work
from privaudit.train.objective import Objective, derivatives
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.vmapped import vmapped_steps
from privaudit.train.ways.way import Steps
from privaudit.training import Training

_WARMED = 3  # steps before a recording, in which libraries choose their algorithms
# Multiply-adds of one model's step from which its kernels are worth a stream of their own. Below,
# kernels that serve all models at once are fewer.
_WORTH = 2**28


def graph_suits(objective: Objective, data: DeviceDataset, options: Training) -> bool:
    """Whether steps can be recorded, and are large enough to gain by it."""
    return data.y.device.type == "cuda" and step_work(objective, data, options) >= _WORTH


def graph_steps(
    objective: Objective,
    count: int,
    data: DeviceDataset,
    options: Training,
    optimizer: Optimizer,
) -> Steps:
    """The steps of `count` models, recorded one by one; companions and projections are stacked."""
    stacked = vmapped_steps(objective, count, data, options, optimizer)
    return replace(stacked, gradients=_Graphs(objective, count, options).gradients)


class _Graphs:
    """Recordings of K models' steps, for every shape of batch that there is."""

    def __init__(self, objective: Objective, count: int, options: Training) -> None:
        self._step = _step_of(objective, options)
        self._count = count
        self._recorded: dict[tuple[object, ...], _Recorded] = {}

    def gradients(self, named: Mapping[str, Tensor], now: State, batch: Batch) -> StepResult:
        """Of K models' losses; the gradients, losses and counts hold until the next call."""
        given = _Given(now, batch)
        shapes = tuple(None if t is None else (t.shape, t.dtype) for t in given.tensors)
        if shapes not in self._recorded:
            self._recorded[shapes] = _Recorded(self._step, self._count, given)
        return self._recorded[shapes](given)


class _Given:
    """All that K models' step depends on, as a list of tensors and as what it is."""

    def __init__(self, now: State, batch: Batch) -> None:
        self.now, self.batch = now, batch
        self.tensors: list[Tensor | None] = [
            now.flat, now.companion, *now.buffers.values(), *now.companion_buffers.values(),
            *now.memory.values(), *batch,
        ]  # fmt: skip

    def like(self) -> _Given:
        """The same in memory of its own."""
        parts = (None if t is None else t.clone() for t in self.batch)
        return _Given(self.now.clone(), Batch._make(parts))

    def take(self, other: _Given) -> None:
        """Take over the numbers of another."""
        pairs = [
            (mine, theirs)
            for mine, theirs in zip(self.tensors, other.tensors, strict=True)
            if mine is not None and theirs is not None and mine.numel()
        ]
        _copy(*zip(*pairs, strict=True))

    def one(self, model: int) -> tuple[State, Batch]:
        """One model's part, which shares memory."""
        parts = (None if t is None else t[model] for t in self.batch)
        return self.now.one(model), Batch._make(parts)


OneStep = Callable[[State, Batch], tuple[list[Tensor | None], Buffers, Tensor, Tensor]]
"""From one model and its batch to gradients by parameter, buffers, loss and correct answers."""


def _step_of(objective: Objective, options: Training) -> OneStep:
    network = objective.network
    loss_of = objective.in_place().loss
    if options.compile:
        loss_of = torch.compile(loss_of, dynamic=False)

    def of_examples(
        state: State, batch: Batch
    ) -> tuple[list[Tensor | None], Buffers, Tensor, Tensor]:
        gradient, after, loss, correct = objective.example_gradients(
            state.flat, state.buffers, batch, *state.rest
        )
        return list(network.views(gradient).values()), after, loss, correct

    def of_the_mean(
        state: State, batch: Batch
    ) -> tuple[list[Tensor | None], Buffers, Tensor, Tensor]:
        leaves = network.leaves(state.flat)
        loss, after, correct = loss_of(leaves, state.buffers, batch, *state.rest)
        gradients = derivatives(loss, leaves)
        detached = {name: buffer.detach() for name, buffer in after.items()}
        return [gradients.get(name) for name in leaves], detached, loss.detach(), correct

    return of_examples if objective.defense.per_example else of_the_mean


@dataclass(frozen=True)
class _Left:
    """Where K models' steps leave what comes out: (K, ...) each."""

    gradients: list[Tensor | None]
    buffers: Buffers
    loss: Tensor
    correct: Tensor

    @classmethod
    def like(cls, count: int, step: StepResult) -> _Left:
        """Room for K results like one model's."""

        def room(one: Tensor) -> Tensor:
            return torch.empty((count, *one.shape), dtype=one.dtype, device=one.device)

        gradients = [None if g is None else room(g) for g in step.gradients]
        buffers = {name: room(buffer) for name, buffer in step.buffers.items()}
        return cls(gradients, buffers, room(step.loss), room(step.correct))

    def put(self, model: int, step: StepResult) -> None:
        """One model's result in its place."""
        rooms = [*self.gradients, *self.buffers.values(), self.loss, self.correct]
        results = [*step.gradients, *step.buffers.values(), step.loss, step.correct]
        pairs = [
            (room[model], one)
            for room, one in zip(rooms, results, strict=True)
            if room is not None and one is not None
        ]
        _copy(*zip(*pairs, strict=True))

    def result(self) -> StepResult:
        """All models' results; buffers in memory of their own, since they outlive the step."""
        buffers = {name: torch.empty_like(buffer) for name, buffer in self.buffers.items()}
        if buffers:
            _copy(list(buffers.values()), list(self.buffers.values()))
        return StepResult(self.gradients, buffers, self.loss, self.correct)


class _Recorded:
    """K models' steps on batches of one shape."""

    def __init__(self, step: OneStep, count: int, given: _Given) -> None:
        self._step, self._count = step, count
        self._given = given.like()
        with _drawing_nothing():
            first = StepResult(*step(*self._given.one(0)))
        self._left = _Left.like(count, first)
        self._cuda = given.now.flat.device.type == "cuda"
        if self._cuda:
            self._streams: list[Any] = [torch.cuda.Stream() for _ in range(count)]  # type: ignore[no-untyped-call]
            self._graphs = [self._record(model) for model in range(count)]

    def __call__(self, given: _Given) -> StepResult:
        self._given.take(given)
        if not self._cuda:
            for model in range(self._count):
                self._one(model)
            return self._left.result()
        here = torch.cuda.current_stream()
        for graph, stream in zip(self._graphs, self._streams, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                graph.replay()
        for stream in self._streams:
            here.wait_stream(stream)
        return self._left.result()

    def _one(self, model: int) -> None:
        self._left.put(model, StepResult(*self._step(*self._given.one(model))))

    def _record(self, model: int) -> torch.cuda.CUDAGraph:
        stream = self._streams[model]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARMED):
                self._one(model)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self._one(model)
        return graph


@contextmanager
def _drawing_nothing() -> Iterator[None]:
    """See that a step draws from no global generator: a recording would draw the same for ever.

    Raises:
        RuntimeError: it does.
    """

    def states() -> tuple[object, ...]:
        of_numpy: Any = np.random.get_state(legacy=False)
        inside = of_numpy["state"]
        drawn = [torch.random.get_rng_state()]
        if torch.cuda.is_available():
            drawn.append(torch.cuda.get_rng_state())
        numpy_state = bytes(inside["key"]), inside["pos"], of_numpy["gauss"]
        return random.getstate(), numpy_state, *(bytes(t.numpy().data) for t in drawn)

    before = states()
    yield
    if states() != before:
        raise RuntimeError("a step that draws from a global generator cannot be recorded")


def _copy(into: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    """Copy tensors into others of their shapes: one launch for each pair of dtypes."""
    kinds: dict[tuple[torch.dtype, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for mine, theirs in zip(into, source, strict=True):
        pair = kinds.setdefault((mine.dtype, theirs.dtype), ([], []))
        pair[0].append(mine)
        pair[1].append(theirs)
    for mine_all, theirs_all in kinds.values():
        torch._foreach_copy_(mine_all, theirs_all)
