"""The training loop of K models that share each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import torch
from torch import Tensor

from privaudit.api.calls import companion_scheduled
from privaudit.networks.answer import Answers, each_to_its_own
from privaudit.networks.state import Rows, State, Trained
from privaudit.optimizers import OPTIMIZERS, Adam
from privaudit.train.batch import Batch
from privaudit.train.dataset import DeviceDataset
from privaudit.train.game import Turn, TurnLoader, answered
from privaudit.train.loader import BatchLoader
from privaudit.train.objective import Objective
from privaudit.train.optimizer import Optimizer
from privaudit.train.snapshots import Keeper, Progress, without
from privaudit.train.ways.choose import WAYS
from privaudit.training import Training

_FEW = 2000  # validation examples up to which models answer together

OnEpoch = Callable[[int, Tensor, Callable[[], State]], None]


@dataclass(frozen=True)
class Job:
    """K models' training.

    Attributes:
        objective: what a step minimises.
        way: by which steps are taken, a name in `WAYS`.
        data: the examples.
        start: where the models start, on the device; not changed.
        trainable: (K, P), 0 where a weight stays as it is; None: all move.
        rows: K models' examples.
        seeds: K models' own, for this fit.
        options: the schedule.
        until: stop after so many epochs of the schedule, to look at an early state.
        keeper: keeps snapshots, and has the one to go on from; None: neither.
    """

    objective: Objective
    way: str
    data: DeviceDataset
    start: State
    trainable: Tensor | None
    rows: list[Rows]
    seeds: list[int]
    options: Training
    until: int | None = None
    keeper: Keeper | None = None


def train(job: Job, on_epoch: OnEpoch | None = None) -> Trained:
    """Train K models side by side, each with its own examples, order and stop.

    Args:
        job: what to do.
        on_epoch: called after each epoch with its number, its history (K, 3) and what gives the
            models, which it must not change nor keep.
    """
    return _Loop(job).run(on_epoch)


class _Loop:
    def __init__(self, job: Job) -> None:
        self.job, self.objective, self.data = job, job.objective, job.data
        self.rows, self.options, self.trainable = job.rows, job.options, job.trainable
        self.now = now = job.start.clone()
        views = self.objective.network.views
        self.moving = None
        if job.trainable is not None:
            self.moving = list(views(job.trainable.to(now.flat.dtype)).values())
        self.count = len(job.rows)
        self.device = now.flat.device
        self._viewed = now.flat, views(now.flat)
        rule = OPTIMIZERS[job.options.optimizer](job.options)
        self.optimizer = Optimizer(self._named(), rule)
        self.loader = BatchLoader(
            job.objective, job.data, job.trainable, job.rows, job.seeds, job.options, now.flat.dtype
        )
        steps, self.companion_lr = companion_scheduled(self.objective.defense)
        self.turns = None
        if self.objective.companion and steps:
            size = job.options.batch_size
            self.turns = TurnLoader(job.objective, job.data, job.rows, job.seeds, size, steps)
        self.companion_optimizer = Optimizer(self._companion_named(), Adam())
        self.steps = WAYS[job.way](job.objective, self.count, job.data, job.options, self.optimizer)
        self.answers = Answers(job.objective.network)

    def run(self, on_epoch: OnEpoch | None) -> Trained:
        options, nan = self.options, float("nan")
        epochs = options.passes(self.job.until)
        history = torch.full((self.count, epochs, 3), nan, dtype=torch.float64)
        validates = torch.tensor([len(r.validation) > 0 for r in self.rows])
        best, best_epoch = self.now, torch.zeros(self.count, dtype=torch.int64)
        best_accuracy = torch.full((self.count,), -1.0, dtype=torch.float64)
        running = torch.ones(self.count, dtype=torch.bool)
        first, keeper = 0, self.job.keeper
        if keeper and (kept := self._found(keeper, history)):
            self.now, best, running = kept.now, kept.best, kept.running
            first, history = kept.epoch, kept.history
            best_epoch, best_accuracy = kept.best_epoch, kept.best_accuracy
        for epoch in range(first, epochs):
            loss, accuracy = self._epoch(epoch, running)
            if self.objective.renews:
                self._remember(epoch, running)
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
            if keeper and epoch + 1 < epochs and keeper.due():
                reached = Progress(
                    epoch + 1, self.now, best, running, history, best_epoch, best_accuracy
                )
                keeper.keep(reached.named() | self._memory(), self.now)
        best_epoch[~validates] = max(0, epochs - 1)  # they never stop
        if not bool(validates.all()):
            best = best.where(validates.to(self.device), self.now)
        return Trained(self.now, best, history, best_epoch)

    def _found(self, keeper: Keeper, history: Tensor) -> Progress | None:
        """How far a run that was stopped had come; the optimisers remember what they did then."""
        fresh = Progress.fresh(self.now, history).named() | self._memory()
        held = keeper.found(fresh, self.now)
        if held is None:
            return None
        self.optimizer.restore(held)
        self.companion_optimizer.restore(without("companion:", held))
        return Progress.of(held, self.device)

    def _memory(self) -> dict[str, Tensor]:
        second = self.companion_optimizer.memory()
        return self.optimizer.memory() | {f"companion:{n}": t for n, t in second.items()}

    def _epoch(self, epoch: int, running: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy (K,) over the epoch's steps."""
        drawn = self.loader.epoch(epoch, self.steps.seeded)
        steps, rate = drawn.steps, self.options.rate(epoch)
        loss = torch.zeros(self.count, device=self.device, dtype=torch.float64)
        correct = torch.zeros(self.count, device=self.device, dtype=torch.int64)
        together = int(steps.min()) if bool(running.all()) else 0  # steps that all of them make
        most = int(steps[running].max())
        turns: Iterator[Turn | None] = repeat(None)
        if self.turns:
            turns = self.turns.epoch(epoch, most, self.steps.seeded)
        for s, batch, turn in zip(range(most), drawn.batches, turns, strict=False):
            some = None if s < together else (running & (s < steps)).to(self.device)
            step_loss, step_correct = self._step(batch, turn, rate, some)
            loss += step_loss if some is None else torch.where(some, step_loss, 0)
            correct += step_correct if some is None else torch.where(some, step_correct, 0)
        return loss.cpu() / steps, correct.cpu() / drawn.seen

    def _remember(self, epoch: int, running: Tensor) -> None:
        """Let the sparsifier renew its memory of the models that are still training."""
        now, reached = self.now, torch.full((self.count,), epoch, device=self.device)
        after = replace(now, memory=self.steps.remember(now.flat, now.memory, reached))
        self.now = after.where(running.to(self.device), now)

    def _step(
        self, batch: Batch, turn: Turn | None, rate: float, some: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        before = self.now
        if turn:
            self._companion_steps(turn, some)
        self.optimizer.begin(some)
        given = self.now
        if some is not None:  # models that have stopped keep their buffers
            given = replace(given, buffers={n: b.clone() for n, b in given.buffers.items()})
        after = self.steps.gradients(self._named(), given, batch)
        if self.objective.projects and some is not None:
            self.now = replace(self.now, flat=self.now.flat.clone())
        weights = list(self._named().values())
        self.optimizer.step(weights, after.gradients, rate, self.moving, some)
        flat, memory = self.now.flat, self.now.memory
        if self.objective.projects:
            projected, memory = self.steps.project(flat, self.now.memory, batch.epoch)
            free = self.trainable
            flat = projected if free is None else torch.where(free, projected, flat)
        now = replace(self.now, flat=flat, buffers=after.buffers, memory=memory)
        self.now = now if some is None else now.where(some, before)
        return after.loss, after.correct

    def _named(self) -> dict[str, Tensor]:
        """The weights by name, looked up anew only where others have taken their place."""
        if self._viewed[0] is not self.now.flat:
            self._viewed = self.now.flat, self.objective.network.views(self.now.flat)
        return self._viewed[1]

    def _companion_steps(self, turn: Turn, active: Tensor | None) -> None:
        for batch in answered(turn, self.data, self._answer):
            now, named = self.now, self._companion_named()
            gradient, held = self.steps.companion_gradients(named, now, batch)
            weights = list(named.values())
            self.companion_optimizer.step(weights, gradient, self.companion_lr, None, active)
            self.now = replace(now, companion_buffers=held)

    def _companion_named(self) -> dict[str, Tensor]:
        companion = self.objective.companion
        return {} if companion is None else companion.views(self.now.companion)

    def _answer(self, x: Tensor) -> Tensor:
        """Answers (K, n, C) of the models as they are now to examples (K, n, ...) of each."""
        return each_to_its_own(self.answers, self.steps.answers, self.now, x)

    def _validate(self, chosen: Tensor) -> Tensor:
        """Validation accuracy (K,); NaN for models not chosen."""
        result = torch.full((self.count,), float("nan"), dtype=torch.float64)
        sizes = {len(r.validation) for r in self.rows}
        if not bool(chosen.any()):
            return result
        together = self.steps.answers
        alike = bool(chosen.all()) and len(sizes) == 1 and max(sizes) < _FEW
        if together and self.objective.network.batch is None and self.count > 1 and alike:
            rows = torch.stack([r.validation for r in self.rows]).to(self.device)
            logits = together(self.now, self.data.plain(rows))
            return (logits.argmax(-1) == self.data.y[rows]).double().mean(-1).cpu()
        for k in chosen.nonzero()[:, 0].tolist():
            rows = self.rows[k].validation.to(self.device)
            logits = self.answers.to_rows(self.now.one(k), self.data.plain, rows)
            result[k] = (logits.argmax(-1) == self.data.y[rows]).double().mean().cpu()
        return result
