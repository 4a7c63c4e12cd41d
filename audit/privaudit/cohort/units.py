"""Runs fits: looks each model's unit up, trains what is missing, keeps what was trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from privaudit.cohort.batches import Batches
from privaudit.cohort.game import Game
from privaudit.cohort.journal import Journal, digest
from privaudit.cohort.matching import Matcher
from privaudit.cohort.network import Network
from privaudit.cohort.packing import Unit, pack, pack_weights, unpack, unpack_weights
from privaudit.cohort.stacking import models_at_once
from privaudit.cohort.train import OnEpoch, Rows, Trained, Weighed, train
from privaudit.events import EpochDone, Event, FitStarted
from privaudit.keys import derive
from privaudit.plugin import Defense, Model, Sparsifier, overrides
from privaudit.training import Training

_CALIBRATION_STEPS = (1, 3)  # the first warms up
_TRAINS = (
    "loss", "inputs", "companion", "companion_loss", "companion_schedule",
    "example_gradient", "batch_gradient",
)  # fmt: skip
_SHAPES = ("prepare", "penalty", "project")


@dataclass(frozen=True)
class Fit:
    """One call of `Cohort.fit`: everything that determines what it makes.

    Attributes:
        game: the network and the hooks in force.
        options: the schedule.
        start: weights of M models, on the host.
        trainable: (M, P) bool, or None where every weight moves.
        rows: M models' examples.
        seeds: M models' own.
        number: how many fits led to the start.
        defended: the cohort's own defense is in force.
    """

    game: Game
    options: Training
    start: Weighed
    trainable: Tensor | None
    rows: list[Rows]
    seeds: tuple[int, ...]
    number: int
    defended: bool = True


@dataclass(frozen=True)
class FitRecord:
    """What a fit had to do.

    Attributes:
        models: how many models it was for.
        found: how many of them were in the journal.
        epochs: of the schedule.
        steps: training steps of all models that were not found.
        stack: models that shared a step.
        rate: chance of a member to be in a batch of the model with the fewest.
        defended: steps of that model that its cohort's own defense had a say in, whether they
            were found or not; 0 where it had none.
    """

    models: int
    found: int
    epochs: int
    steps: int
    stack: int
    rate: float
    defended: int


class Units:
    """The journal's side of a cohort.

    Args:
        network: the structure the models share.
        data: the examples.
        journal: where finished units are kept.
        model: the plugin that built the structure.
        plan: train nothing; a missing unit leaves its model where it was.
        on_event: told about progress.
    """

    def __init__(
        self,
        network: Network,
        data: Batches,
        journal: Journal,
        model: Model,
        plan: bool,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.network, self.data, self.journal = network, data, journal
        self.plan = plan
        self.records: list[FitRecord] = []
        self._waiting: Fit | None = None  # a fit that a plan found work in
        self._tell = on_event or (lambda event: None)
        examples = data.examples
        self.source = digest(
            examples.x, examples.y, examples.mean, examples.std, str(examples.augmentation), model
        )

    def run(self, fit: Fit, until: int | None = None) -> Trained:
        """The state of all M models after a fit, or after its first `until` epochs."""

        def make(models: Tensor) -> list[Unit]:
            tell = self._teller(fit, len(models), until)
            trained = self._train(fit, models, until, lambda epoch, done, now: tell(epoch, done))
            return [pack(trained, k) for k in range(len(models))]

        def stay(model: int) -> Unit:
            here = fit.start[torch.tensor([model])]
            nothing = torch.zeros(1, 0, 3, dtype=torch.float64)
            return pack(Trained(here, here, nothing, torch.zeros(1, dtype=torch.int64)), 0)

        return unpack(self._collect(fit, until, self._keys(fit, until), make, stay))

    def matched(self, fit: Fit, rows: list[Tensor], wanted: Tensor) -> list[Weighed]:
        """The state of all M models at the epochs where they come nearest to accuracies.

        Args:
            fit: the training they go through.
            rows: M models' examples, (n,) int64 each, on which accuracy is measured.
            wanted: (M, L) float64.

        Returns:
            L states.
        """
        levels = range(wanted.shape[1])
        keys = [
            digest(key, "matched", rows[m], wanted[m])
            for m, key in enumerate(self._keys(fit, None))
        ]

        def make(models: Tensor) -> list[Unit]:
            own = [rows[int(m)] for m in models]
            matcher = Matcher(self.network, self.data, own, wanted[models])
            tell = self._teller(fit, len(models), None)

            def watch(epoch: int, history: Tensor, now: Weighed) -> None:
                matcher.watch(now)
                tell(epoch, history)

            self._train(fit, models, None, watch)
            return [
                {n: t for j in levels for n, t in pack_weights(str(j), matcher.kept[j], k).items()}
                for k in range(len(models))
            ]

        def stay(model: int) -> Unit:
            return {n: t for j in levels for n, t in pack_weights(str(j), fit.start, model).items()}

        units = self._collect(fit, None, keys, make, stay)
        return [unpack_weights(str(j), units) for j in levels]

    def _collect(
        self,
        fit: Fit,
        until: int | None,
        keys: list[str],
        make: Callable[[Tensor], list[Unit]],
        stay: Callable[[int], Unit],
    ) -> list[Unit]:
        """Every model's unit: from the journal, or made, as many at once as the rule says."""
        units = {m: unit for m, key in enumerate(keys) if (unit := self.journal.find(key))}
        missing = [m for m in range(len(keys)) if m not in units]
        at_once = self._at_once(fit)
        self._record(fit, missing, at_once, until)
        if self.plan and missing:
            self._waiting = self._waiting or fit
            units |= {m: stay(m) for m in missing}
            missing = []
        for start in range(0, len(missing), at_once):
            models = missing[start : start + at_once]
            made = dict(zip(models, make(torch.tensor(models)), strict=True))
            self.journal.keep({keys[m]: unit for m, unit in made.items()})
            units |= made
        return [units[m] for m in range(len(keys))]

    def _at_once(self, fit: Fit) -> int:
        return fit.options.stack or models_at_once(self.network, self.data, fit.game, fit.options)

    def seconds_per_step(self) -> float:
        """Seconds that a step of one model takes in the first fit a plan found work in.

        Measured on a few real steps of as many models as would share them; 0 without work.
        """
        fit = self._waiting
        if fit is None:
            return 0.0
        models = torch.arange(min(self._at_once(fit), len(fit.rows)))
        size = fit.options.batch_size
        each = 0.0
        for count in _CALIBRATION_STEPS:
            rows = [
                replace(r, member=r.member[: size * count], validation=r.validation[:0])
                for r in (fit.rows[int(m)] for m in models)
            ]
            short = replace(fit, rows=rows, options=fit.options.model_copy(update={"epochs": 1}))
            started = time.perf_counter()
            self._train(short, models, None, None)
            steps = max(-(-len(r.member) // size) for r in rows)
            each = (time.perf_counter() - started) / (steps * len(models))
        return each

    def _record(self, fit: Fit, missing: list[int], at_once: int, until: int | None) -> None:
        epochs = _epochs(fit, until)
        each = [-(-len(r.member) // fit.options.batch_size) for r in fit.rows]
        steps = sum(each[m] for m in missing) * epochs
        found = len(fit.rows) - len(missing)
        fewest = max(1, min(each))
        defended = fewest * epochs if fit.defended else 0
        record = FitRecord(len(fit.rows), found, epochs, steps, at_once, 1 / fewest, defended)
        self.records.append(record)
        self._tell(FitStarted(len(fit.rows), found, epochs))

    def _teller(self, fit: Fit, models: int, until: int | None) -> Callable[[int, Tensor], None]:
        epochs = _epochs(fit, until)

        def told(epoch: int, history: Tensor) -> None:
            loss, accuracy, validation = history.nanmean(0).tolist()
            self._tell(EpochDone(models, epoch + 1, epochs, loss, accuracy, validation))

        return told

    def _train(self, fit: Fit, models: Tensor, until: int | None, told: OnEpoch | None) -> Trained:
        device = self.network.device
        return train(
            fit.game,
            self.data,
            fit.start[models].to(device),
            None if fit.trainable is None else fit.trainable[models].to(device),
            [fit.rows[int(m)] for m in models],
            [derive(fit.seeds[int(m)], "fit", fit.number) for m in models],
            fit.options,
            until=until,
            on_epoch=told,
        )

    def _keys(self, fit: Fit, until: int | None) -> list[str]:
        options = fit.options.model_dump(mode="json", exclude={"stack"})
        common = digest(self.source, options, until, fit.number, *_hooks(fit.game))
        start = fit.start
        return [
            digest(
                common,
                fit.seeds[m],
                start.flat[m],
                {n: b[m] for n, b in start.buffers.items()},
                start.second[m],
                {n: b[m] for n, b in start.second_buffers.items()},
                None if fit.trainable is None else fit.trainable[m],
                rows.member,
                rows.validation,
                rows.reference if fit.game.defense.reference else None,
            )
            for m, rows in enumerate(fit.rows)
        ]


def _epochs(fit: Fit, until: int | None) -> int:
    options = fit.options
    return min(e for e in (options.epochs, options.stop_after, until) if e is not None)


def _hooks(game: Game) -> list[Sparsifier | Defense | str]:
    """The plugins that have a say in this fit; others must not change its key."""
    hooks: list[Sparsifier | Defense | str] = ["sparsifier", "defense"]
    if game.defense.per_example or any(overrides(game.defense, name) for name in _TRAINS):
        hooks.append(game.defense)
    if any(overrides(game.sparsifier, name) for name in _SHAPES):
        hooks.insert(1, game.sparsifier)
    return hooks
