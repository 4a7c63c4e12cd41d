"""The training loop of K models that share each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from privaudit.cohort.batches import Batches, epoch_order, poisson_order
from privaudit.cohort.derivatives import companion_gradients, gradients
from privaudit.cohort.game import Game
from privaudit.cohort.network import Buffers, Network
from privaudit.cohort.optimizer import Optimizer
from privaudit.cohort.stacked import over_models
from privaudit.cohort.weighed import Rows, Trained, Weighed
from privaudit.keys import derive, fold
from privaudit.training import Training

_ROWS = 2000  # examples answered at once
_REFERENCE = 1 << 32  # purpose of a step's key: its reference examples


OnEpoch = Callable[[int, Tensor, Weighed], None]


def train(
    game: Game,
    data: Batches,
    start: Weighed,
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
        game: what a step computes.
        data: the examples.
        start: where the models start, on the device; not changed.
        trainable: (K, P), 0 where a weight stays as it is; None: all move.
        rows: K models' examples.
        seeds: K models' own, for this fit.
        options: the schedule.
        until: stop after so many epochs of the schedule, to look at an early state.
        on_epoch: called after each epoch with its number, its history (K, 3) and the models, which
            it must not change nor keep.
    """
    return _Loop(game, data, start.clone(), trainable, rows, seeds, options).run(until, on_epoch)


class _Loop:
    def __init__(
        self,
        game: Game,
        data: Batches,
        now: Weighed,
        trainable: Tensor | None,
        rows: list[Rows],
        seeds: list[int],
        options: Training,
    ) -> None:
        self.game, self.data, self.now, self.rows = game, data, now, rows
        self.seeds, self.options = seeds, options
        self.trainable = trainable
        views = game.network.views
        self.moving = None if trainable is None else _parts(views(trainable.to(now.flat.dtype)))
        self.count = len(rows)
        self.device = now.flat.device
        self.keys = torch.tensor(seeds, device=self.device)
        self.optimizer = Optimizer(
            _parts(views(now.flat)),
            options.optimizer,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.second_steps, self.second_lr = game.defense.companion_schedule()
        self.second_optimizer = Optimizer(self._second_parts(), "adam")
        self.gradient = gradients(game, self.count, options)
        self.second_gradient = companion_gradients(game, self.count)
        self.project = over_models(game.project, self.count)

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
            better = running & (~validates | (checked > best_accuracy))
            if bool(better.any()):
                best = self.now.where(better.to(self.device), best)
                best_accuracy = torch.where(better, checked, best_accuracy)
                best_epoch[better] = epoch
            if on_epoch:
                on_epoch(epoch, history[:, epoch], self.now)
            if options.patience:
                running &= ~validates | (epoch - best_epoch < options.patience)
                if not bool(running.any()):
                    break
        return Trained(self.now, best, history, best_epoch)

    def _epoch(self, epoch: int, running: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy (K,) over the epoch's steps."""
        order, real, steps = self._members(epoch)
        reference = self._reference(epoch, self.options.batch_size, order.shape[1])
        places = torch.arange(order.shape[1], device=self.device)
        keys = fold(fold(self.keys, epoch)[:, None], places)
        rate = self.options.rate(epoch)
        common = {"epoch": torch.full((self.count,), epoch, device=self.device)}
        seen = real.sum((1, 2)) if real is not None else steps * self.options.batch_size
        if real is not None:
            sizes = torch.tensor([len(r.member) for r in self.rows]) / steps
            common["count"] = sizes.to(self.now.flat)
        if self.game.defense.per_example and self.trainable is not None:
            common["free"] = self.trainable.to(self.now.flat.dtype)
        loss = torch.zeros(self.count, device=self.device, dtype=torch.float64)
        right = torch.zeros(self.count, device=self.device, dtype=torch.int64)
        for s in range(int(steps[running].max())):
            active = running & (s < steps)
            some = None if bool(active.all()) else active.to(self.device)
            batch = self._batch(order[:, s], keys[:, s]) | common
            if reference is not None:
                batch |= self._named("reference_", reference[:, s], fold(keys[:, s], _REFERENCE))
            if real is not None:
                batch["real"] = real[:, s]
            step_loss, step_right = self._step(batch, rate, some)
            loss += step_loss if some is None else torch.where(some, step_loss, 0)
            right += step_right if some is None else torch.where(some, step_right, 0)
        return loss.cpu() / steps, right.cpu() / seen.cpu()

    def _members(self, epoch: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """Rows (K, S, B) of an epoch's batches, which of them count, and each model's steps (K,).

        None counts as all; shorter epochs and, under Poisson sampling, smaller batches are padded.
        """
        size = self.options.batch_size
        if self.game.defense.sampling != "poisson":
            orders = self._orders("member", epoch, size)
            steps = torch.tensor([len(o) for o in orders])
            return _padded(orders).to(self.device), None, steps
        drawn = [
            poisson_order(r.member, derive(seed, "poisson"), epoch, size)
            for r, seed in zip(self.rows, self.seeds, strict=True)
        ]
        steps = torch.tensor([len(order) for order, _ in drawn])
        order, real = (_padded(parts).to(self.device) for parts in zip(*drawn, strict=True))
        return order, real, steps

    def _step(self, batch: Buffers, rate: float, some: Tensor | None) -> tuple[Tensor, Tensor]:
        before = self.now
        if self.game.companion:
            self._companion_steps(batch, some)
        gradient, buffers, loss, right = self.gradient(
            self.now.flat, self.now.buffers, batch, self.now.second, self.now.second_buffers
        )
        flat = self.now.flat.clone() if self.game.projects and some is not None else self.now.flat
        parts = _parts(self.game.network.views(flat))
        self.optimizer.step(parts, gradient, rate, self.moving, some)
        if self.game.projects:
            projected = self.project(flat, batch["epoch"])
            free = self.trainable
            flat = projected if free is None else torch.where(free, projected, flat)
        now = Weighed(flat, buffers, self.now.second, self.now.second_buffers)
        self.now = now if some is None else now.where(some, before)
        return loss, right

    def _companion_steps(self, batch: Buffers, active: Tensor | None) -> None:
        for _ in range(self.second_steps):
            now = self.now
            gradient, held = self.second_gradient(
                now.flat, now.buffers, batch, now.second, now.second_buffers
            )
            self.second_optimizer.step(self._second_parts(), gradient, self.second_lr, None, active)
            self.now = Weighed(now.flat, now.buffers, now.second, held)

    def _second_parts(self) -> list[Tensor]:
        companion = self.game.companion
        return [] if companion is None else _parts(companion.views(self.now.second))

    def _orders(self, role: str, epoch: int, size: int) -> list[Tensor]:
        return [
            epoch_order(getattr(r, role), derive(seed, role), epoch, size)
            for r, seed in zip(self.rows, self.seeds, strict=True)
        ]

    def _reference(self, epoch: int, size: int, steps: int) -> Tensor | None:
        """(K, steps, B) rows of reference examples, gone through as often as it takes."""
        if not self.game.defense.reference:
            return None
        orders = [
            o.repeat(-(-steps // len(o)), 1)[:steps] for o in self._orders("reference", epoch, size)
        ]
        return torch.stack(orders).to(self.device)

    def _batch(self, rows: Tensor, keys: Tensor) -> Buffers:
        return self._named("", rows, keys) | {"key": keys}

    def _named(self, prefix: str, rows: Tensor, keys: Tensor) -> Buffers:
        augment = self.options.augment and self.data.augments
        x = self.data.augmented(rows, keys) if augment else self.data.plain(rows)
        return {f"{prefix}x": x, f"{prefix}y": self.data.y[rows]}

    def _validate(self, chosen: Tensor) -> Tensor:
        """Validation accuracy (K,); NaN for models not chosen."""
        result = torch.full((self.count,), float("nan"), dtype=torch.float64)
        sizes = {len(r.validation) for r in self.rows}
        if not bool(chosen.any()):
            return result
        if self.count > 1 and bool(chosen.all()) and len(sizes) == 1 and sizes <= set(range(_ROWS)):
            rows = torch.stack([r.validation for r in self.rows]).to(self.device)
            answers = over_models(lambda f, b, x: self.game.network.forward(f, b, x)[0], self.count)
            with torch.no_grad():
                logits = answers(self.now.flat, self.now.buffers, self.data.plain(rows))
            return (logits.argmax(-1) == self.data.y[rows]).double().mean(-1).cpu()
        for k in chosen.nonzero()[:, 0].tolist():
            rows = self.rows[k].validation.to(self.device)
            buffers = {n: b[k] for n, b in self.now.buffers.items()}
            logits = answer(self.game.network, self.now.flat[k], buffers, self.data, rows)
            result[k] = (logits.argmax(-1) == self.data.y[rows]).double().mean().cpu()
        return result


def _parts(named: Mapping[str, Tensor]) -> list[Tensor]:
    return list(named.values())


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """(K, S, B) of K tensors (s, b), filled up with zeros."""
    steps, size = (max(p.shape[axis] for p in parts) for axis in (0, 1))
    return torch.stack([pad(p, (0, size - p.shape[1], 0, steps - p.shape[0])) for p in parts])


@torch.no_grad()
def answer(
    network: Network, flat: Tensor, buffers: Mapping[str, Tensor], data: Batches, rows: Tensor
) -> Tensor:
    """Logits (n, C) of one model on the given examples, (n,) int64, in large batches."""
    return torch.cat(
        [network.forward(flat, dict(buffers), data.plain(r))[0] for r in torch.split(rows, _ROWS)]
    )
