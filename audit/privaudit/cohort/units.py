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
from privaudit.cohort.network import Network
from privaudit.cohort.stacking import models_at_once
from privaudit.cohort.train import OnEpoch, Rows, Trained, Weighed, train
from privaudit.events import EpochDone, Event, FitStarted
from privaudit.keys import derive
from privaudit.plugin import Defense, Model, Sparsifier, overrides
from privaudit.training import Training

_CALIBRATION_STEPS = 4
_TRAINS = (
    "loss", "companion", "companion_loss", "companion_schedule",
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
    """

    game: Game
    options: Training
    start: Weighed
    trainable: Tensor | None
    rows: list[Rows]
    seeds: tuple[int, ...]
    number: int


@dataclass(frozen=True)
class FitRecord:
    """What a fit had to do.

    Attributes:
        models: how many models it was for.
        found: how many of them were in the journal.
        epochs: of the schedule.
        steps: training steps of all models that were not found.
        stack: models that shared a step.
    """

    models: int
    found: int
    epochs: int
    steps: int
    stack: int


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
        keys = self._keys(fit, until)
        found = {m: unit for m, key in enumerate(keys) if (unit := self.journal.find(key))}
        states = {m: _unpack(unit) for m, unit in found.items()}
        missing = [m for m in range(len(keys)) if m not in states]
        at_once = fit.options.stack or models_at_once(
            self.network, self.data, fit.game, fit.options
        )
        self._record(fit, missing, at_once, until)
        for start in range(0, len(missing), at_once):
            models = torch.tensor(missing[start : start + at_once])
            if self.plan:
                self._waiting = self._waiting or fit
                states |= {int(m): _unmoved(fit, int(m)) for m in models}
                continue
            trained = self._train(fit, models, until, self._teller(fit, len(models), until))
            units = [_one(trained, k) for k in range(len(models))]
            names = [keys[int(m)] for m in models]
            self.journal.keep({n: _pack(u) for n, u in zip(names, units, strict=True)})
            states |= {int(m): u for m, u in zip(models, units, strict=True)}
        return _join([states[m] for m in range(len(keys))])

    def seconds_per_step(self) -> float:
        """Seconds that a step of one model takes in the first fit a plan found work in.

        Measured on a few real steps of as many models as would share them; 0 without work.
        """
        fit = self._waiting
        if fit is None:
            return 0.0
        at_once = fit.options.stack or models_at_once(
            self.network, self.data, fit.game, fit.options
        )
        models = torch.arange(min(at_once, len(fit.rows)))
        some = fit.options.batch_size * _CALIBRATION_STEPS
        rows = [
            replace(r, member=r.member[:some], validation=r.validation[:0])
            for r in (fit.rows[int(m)] for m in models)
        ]
        short = replace(fit, rows=rows, options=fit.options.model_copy(update={"epochs": 1}))
        taken = []
        for _ in range(2):  # the first warms up
            started = time.perf_counter()
            self._train(short, models, None, told=None)
            taken.append(time.perf_counter() - started)
        steps = max(-(-len(r.member) // fit.options.batch_size) for r in rows)
        return taken[-1] / (steps * len(models))

    def _record(self, fit: Fit, missing: list[int], at_once: int, until: int | None) -> None:
        epochs = fit.options.epochs if until is None else until
        size = fit.options.batch_size
        steps = sum(-(-len(fit.rows[m].member) // size) for m in missing) * epochs
        found = len(fit.rows) - len(missing)
        self.records.append(FitRecord(len(fit.rows), found, epochs, steps, at_once))
        self._tell(FitStarted(len(fit.rows), found, epochs))

    def _teller(self, fit: Fit, models: int, until: int | None) -> OnEpoch:
        epochs = fit.options.epochs if until is None else until

        def told(epoch: int, history: Tensor) -> None:
            loss, accuracy, validation = history.nanmean(0).tolist()
            self._tell(EpochDone(models, epoch + 1, epochs, loss, accuracy, validation))

        return told

    def _train(self, fit: Fit, models: Tensor, until: int | None, told: OnEpoch | None) -> Trained:
        device = self.network.device
        trained = train(
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
        host = torch.device("cpu")
        return Trained(
            trained.last.to(host), trained.best.to(host), trained.history, trained.best_epoch
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


def _hooks(game: Game) -> list[Sparsifier | Defense | str]:
    """The plugins that have a say in this fit; others must not change its key."""
    hooks: list[Sparsifier | Defense | str] = ["sparsifier", "defense"]
    if any(overrides(game.defense, name) for name in _TRAINS):
        hooks.append(game.defense)
    if any(overrides(game.sparsifier, name) for name in _SHAPES):
        hooks.insert(1, game.sparsifier)
    return hooks


def _unmoved(fit: Fit, model: int) -> Trained:
    here = fit.start[torch.tensor([model])]
    return Trained(here, here, torch.zeros(1, 0, 3), torch.zeros(1, dtype=torch.int64))


def _one(trained: Trained, k: int) -> Trained:
    only = torch.tensor([k])
    return Trained(
        trained.last[only], trained.best[only], trained.history[only], trained.best_epoch[only]
    )


def _join(parts: list[Trained]) -> Trained:
    epochs = max(p.history.shape[1] for p in parts)
    blank = float("nan")
    history = [
        torch.nn.functional.pad(p.history, (0, 0, 0, epochs - p.history.shape[1]), value=blank)
        for p in parts
    ]
    return Trained(
        _cat([p.last for p in parts]),
        _cat([p.best for p in parts]),
        torch.cat(history),
        torch.cat([p.best_epoch for p in parts]),
    )


def _cat(parts: list[Weighed]) -> Weighed:
    first = parts[0]
    return Weighed(
        torch.cat([p.flat for p in parts]),
        {n: torch.cat([p.buffers[n] for p in parts]) for n in first.buffers},
        torch.cat([p.second for p in parts]),
        {n: torch.cat([p.second_buffers[n] for p in parts]) for n in first.second_buffers},
    )


def _pack(unit: Trained) -> dict[str, Tensor]:
    tensors = {"history": unit.history, "best_epoch": unit.best_epoch}
    for when, weighed in (("last", unit.last), ("best", unit.best)):
        tensors |= {f"{when}:flat": weighed.flat, f"{when}:second": weighed.second}
        tensors |= {f"{when}:buffer:{n}": b for n, b in weighed.buffers.items()}
        tensors |= {f"{when}:second_buffer:{n}": b for n, b in weighed.second_buffers.items()}
    return tensors


def _unpack(tensors: dict[str, Tensor]) -> Trained:
    def weighed(when: str) -> Weighed:
        def held(kind: str) -> dict[str, Tensor]:
            start = f"{when}:{kind}:"
            return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}

        return Weighed(
            tensors[f"{when}:flat"],
            held("buffer"),
            tensors[f"{when}:second"],
            held("second_buffer"),
        )

    return Trained(weighed("last"), weighed("best"), tensors["history"], tensors["best_epoch"])
