"""The training loop of K models that share each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from privaudit.networks.network import Buffers, Network
from privaudit.networks.state import Rows, State, Trained
from privaudit.networks.vmapped import over_models
from privaudit.train.dataset import DeviceDataset
from privaudit.train.gradients import companion_gradients, gradients
from privaudit.train.loader import BatchLoader
from privaudit.train.objective import Objective
from privaudit.train.optimizer import Optimizer
from privaudit.training import Training

_ROWS = 2000  # examples answered at once


OnEpoch = Callable[[int, Tensor, Callable[[], State]], None]


def train(
    objective: Objective,
    data: DeviceDataset,
    start: State,
    trainable: Tensor | None,
    rows: list[Rows],
    seeds: list[int],
    options: Training,
    *,
    until: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train K models side by side, each with its own examples, order and stop.

    Args:
        objective: what a step computes.
        data: the examples.
        start: where the models start, on the device; not changed.
        trainable: (K, P), 0 where a weight stays as it is; None: all move.
        rows: K models' examples.
        seeds: K models' own, for this fit.
        options: the schedule.
        until: stop after so many epochs of the schedule, to look at an early state.
        on_epoch: called after each epoch with its number, its history (K, 3) and what gives the
            models, which it must not change nor keep.
    """
    return _Loop(objective, data, start.clone(), trainable, rows, seeds, options).run(
        until, on_epoch
    )


class _Loop:
    def __init__(
        self,
        objective: Objective,
        data: DeviceDataset,
        now: State,
        trainable: Tensor | None,
        rows: list[Rows],
        seeds: list[int],
        options: Training,
    ) -> None:
        self.objective, self.data, self.now, self.rows = objective, data, now, rows
        self.seeds, self.options = seeds, options
        self.trainable = trainable
        views = objective.network.views
        self.moving = (
            None if trainable is None else list(views(trainable.to(now.flat.dtype)).values())
        )
        self.count = len(rows)
        self.device = now.flat.device
        self._viewed = now.flat, views(now.flat)
        self.optimizer = Optimizer(
            self._named(),
            options.optimizer,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.feed = BatchLoader(objective, data, trainable, rows, seeds, options, now.flat.dtype)
        self.second_steps, self.second_lr = objective.defense.companion_schedule()
        self.second_optimizer = Optimizer(self._second_named(), "adam")
        self.gradient = gradients(objective, self.count, data, options, self.optimizer)
        self.second_gradient = companion_gradients(objective, self.count)
        self.project = over_models(objective.project, self.count)

    def run(self, until: int | None, on_epoch: OnEpoch | None) -> Trained:
        options, nan = self.options, float("nan")
        epochs = min(e for e in (options.epochs, options.stop_after, until) if e is not None)
        history = torch.full((self.count, epochs, 3), nan, dtype=torch.float64)
        validates = torch.tensor([len(r.validation) > 0 for r in self.rows])
        best, best_epoch = self.now, torch.zeros(self.count, dtype=torch.int64)
        best_accuracy = torch.full((self.count,), -1.0, dtype=torch.float64)
        running = torch.ones(self.count, dtype=torch.bool)
        for epoch in range(epochs):
            loss, accuracy = self._epoch(epoch, running)
            checked = self._validate(running & validates)
            history[running, epoch] = torch.stack([loss, accuracy, checked], -1)[running]
            better = running & validates & (checked > best_accuracy)
            if bool(better.any()):
                best = self.now.where(better.to(self.device), best)
                best_accuracy = torch.where(better, checked, best_accuracy)
                best_epoch[better] = epoch
            if on_epoch:
                on_epoch(epoch, history[:, epoch], lambda: self.now)
            if options.patience:
                running &= ~validates | (epoch - best_epoch < options.patience)
                if not bool(running.any()):
                    break
        best_epoch[~validates] = max(0, epochs - 1)  # they never stop
        if not bool(validates.all()):
            best = best.where(validates.to(self.device), self.now)
        return Trained(self.now, best, history, best_epoch)

    def _epoch(self, epoch: int, running: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy (K,) over the epoch's steps."""
        given = self.feed.epoch(epoch)
        steps, rate = given.steps, self.options.rate(epoch)
        loss = torch.zeros(self.count, device=self.device, dtype=torch.float64)
        right = torch.zeros(self.count, device=self.device, dtype=torch.int64)
        together = int(steps.min()) if bool(running.all()) else 0  # steps that all of them make
        for s, batch in zip(range(int(steps[running].max())), given.batches, strict=False):
            some = None if s < together else (running & (s < steps)).to(self.device)
            step_loss, step_right = self._step(batch, rate, some)
            loss += step_loss if some is None else torch.where(some, step_loss, 0)
            right += step_right if some is None else torch.where(some, step_right, 0)
        return loss.cpu() / steps, right.cpu() / given.seen

    def _step(
        self, batch: dict[str, Any], rate: float, some: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        before = self.now
        if self.objective.companion:
            self._companion_steps(batch, some)
        self.optimizer.begin(some)
        after = self.gradient(self._named(), self.now, batch)
        if self.objective.projects and some is not None:
            self.now = replace(self.now, flat=self.now.flat.clone())
        weights = list(self._named().values())
        self.optimizer.step(weights, after.gradients, rate, self.moving, some)
        flat = self.now.flat
        if self.objective.projects:
            projected = self.project(flat, batch["epoch"])
            free = self.trainable
            flat = projected if free is None else torch.where(free, projected, flat)
        now = State(flat, after.buffers, self.now.second, self.now.second_buffers)
        self.now = now if some is None else now.where(some, before)
        return after.loss, after.right

    def _named(self) -> dict[str, Tensor]:
        """The weights by name, looked up anew only where others have taken their place."""
        if self._viewed[0] is not self.now.flat:
            self._viewed = self.now.flat, self.objective.network.views(self.now.flat)
        return self._viewed[1]

    def _companion_steps(self, batch: Buffers, active: Tensor | None) -> None:
        for _ in range(self.second_steps):
            now, named = self.now, self._second_named()
            gradient, held = self.second_gradient(named, now, batch)
            weights = list(named.values())
            self.second_optimizer.step(weights, gradient, self.second_lr, None, active)
            self.now = State(now.flat, now.buffers, now.second, held)

    def _second_named(self) -> dict[str, Tensor]:
        companion = self.objective.companion
        return {} if companion is None else companion.views(self.now.second)

    def _validate(self, chosen: Tensor) -> Tensor:
        """Validation accuracy (K,); NaN for models not chosen."""
        result = torch.full((self.count,), float("nan"), dtype=torch.float64)
        sizes = {len(r.validation) for r in self.rows}
        if not bool(chosen.any()):
            return result
        if self.count > 1 and bool(chosen.all()) and len(sizes) == 1 and sizes <= set(range(_ROWS)):
            rows = torch.stack([r.validation for r in self.rows]).to(self.device)
            answers = over_models(
                lambda f, b, x: self.objective.network.forward(f, b, x)[0], self.count
            )
            with torch.no_grad():
                logits = answers(self.now.flat, self.now.buffers, self.data.plain(rows))
            return (logits.argmax(-1) == self.data.y[rows]).double().mean(-1).cpu()
        for k in chosen.nonzero()[:, 0].tolist():
            rows = self.rows[k].validation.to(self.device)
            buffers = {n: b[k] for n, b in self.now.buffers.items()}
            logits = answer(self.objective.network, self.now.flat[k], buffers, self.data, rows)
            result[k] = (logits.argmax(-1) == self.data.y[rows]).double().mean().cpu()
        return result


@torch.no_grad()
def answer(
    network: Network, flat: Tensor, buffers: Mapping[str, Tensor], data: DeviceDataset, rows: Tensor
) -> Tensor:
    """Logits (n, C) of one model on the given examples, (n,) int64, in large batches."""
    return torch.cat(
        [network.forward(flat, dict(buffers), data.plain(r))[0] for r in torch.split(rows, _ROWS)]
    )
