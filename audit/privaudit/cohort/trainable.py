"""What a sparsifier sees: M models of one architecture that train, prune and rewind together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from pydantic import ValidationError
from torch import Tensor

from privaudit.api.calls import learns_afterwards, scheduled
from privaudit.api.cohort import Cohort as AbstractCohort
from privaudit.api.plugin import Defense, Model, Plugin, Sparsifier
from privaudit.cohort.companions import fit_companions, players
from privaudit.cohort.fits import FitRecord, Fits
from privaudit.cohort.in_force import defense_in_force, sparsifier_in_force, with_memory
from privaudit.cohort.looking import LookingModels, Looks
from privaudit.cohort.models import Named, Snapshot
from privaudit.cohort.watched import Watched
from privaudit.errors import PluginError
from privaudit.events import Event
from privaudit.jobs.local import Workers
from privaudit.networks.build import build_companions, build_networks
from privaudit.networks.state import Rows, State, lost_epochs
from privaudit.store.journal import Journal
from privaudit.train.dataset import DeviceDataset
from privaudit.train.device_rules import StackLimits, resolved
from privaudit.train.fit import Fit
from privaudit.train.objective import Objective
from privaudit.training import Training
from privaudit.values import Examples


class Cohort(LookingModels, AbstractCohort):
    """M models of one architecture, each with its own seed, examples and mask.

    A sparsifier's script and a defense's `finish` work on it; they are written once and run for
    every model at the same time. Tensors by name are stacked on a leading axis M.

    Args:
        examples: the dataset.
        role: (M, N) uint8, a `Role` for each model and example.
        seeds: (M,) each model's own.
        model: the architecture.
        sparsifier: whose `prepare`, `penalty` and `project` are in force.
        defense: whose training hooks are in force, in fine-tuning only if it says so.
        training: the schedule.
        device: where training happens.
        journal: finished units; one that keeps nothing if not given.
        plan: run scripts without training, to see what there is to do.
        on_event: told about progress.
        workers: processes to share the models of long fits out to.
        limits: what the run has learnt about the device's memory.

    Attributes:
        lost: (M,) int64: the first epoch, from 1, in which a model's loss was no number; 0: none.
    """

    def __init__(
        self,
        examples: Examples,
        role: Tensor,
        seeds: Tensor,
        *,
        model: Model,
        sparsifier: Sparsifier,
        defense: Defense,
        training: Training,
        device: torch.device | str = "cpu",
        journal: Journal | None = None,
        plan: bool = False,
        on_event: Callable[[Event], None] | None = None,
        workers: Workers | None = None,
        limits: StackLimits | None = None,
    ) -> None:
        device = torch.device(device)
        training = resolved(training, device)
        dtype = torch.float64 if training.precision == "fp64" else torch.float32
        self._seeds = tuple(int(s) for s in seeds)
        self.sparsifier = self._prepared_by = sparsifier
        self.defense, self._training = defense, training
        self._rows = [Rows.of(r) for r in role]
        network, flat, buffers, dense = build_networks(
            model, sparsifier, examples.shape, len(examples.classes), self._seeds, device, dtype
        )
        self._companion, second, second_buffers = build_companions(
            defense, len(examples.classes), self.seeds, device, dtype
        )
        weights = State(flat, buffers, second, second_buffers)
        self._afterwards = weights if learns_afterwards(defense) else None
        if self._afterwards:
            weights = State(flat, buffers, second[:, :0], {})
        super().__init__(network, weights, dense)
        self._data = DeviceDataset(examples, device, dtype)
        journal = journal or Journal(None)
        self._fits = Fits(network, self._data, journal, model, plan, on_event, workers, limits)
        self._best = weights
        self._saved: dict[str, Snapshot] = {}
        self.looks = Looks()
        self._first: Fit | None = None
        self.lost = torch.zeros(len(self._seeds), dtype=torch.int64)

    def fit(
        self,
        epochs: int | None = None,
        *,
        tune: bool = False,
        defense: Plugin | None = None,
        sparsifier: Plugin | None = None,
        **training: object,
    ) -> None:
        """As `privaudit.Cohort.fit` says."""
        self._watched.check()
        changes = training | ({} if epochs is None else {"epochs": epochs})
        fit = self._fit(tune, defense, changes, sparsifier)
        self._first = self._first or fit
        trained = self._fits.run(fit)
        now = self._state.weights
        self._best, self.history = trained.best.beside(now), trained.history
        self.lost = torch.where(self.lost > 0, self.lost, lost_epochs(trained.history))
        self._move(trained.last.beside(now), fits=self._state.fits + 1)

    def match(self, rows: Tensor, accuracy: Tensor) -> list[Cohort]:
        """Train, and stop each model where it is as accurate as another: controls for audits.

        Args:
            rows: (M, N) bool: each model's examples on which accuracy is measured.
            accuracy: (M, L) float64 wanted.

        Returns:
            L cohorts, each model at the epoch whose accuracy comes nearest, the first of equals.
        """
        chosen = [r.nonzero()[:, 0] for r in rows]
        self.looks.note("accuracy on non-members", members=False)
        states = self._fits.matched(self._fit(False, None, {}), chosen, accuracy)
        controls = [self.fork() for _ in states]
        for control, weights in zip(controls, states, strict=True):
            control._move(weights.beside(self._state.weights), fits=self._state.fits + 1)
        return controls

    def rewind(self, to: str | int = "best", where: Named | None = None) -> None:
        """As `privaudit.Cohort.rewind` says."""
        self._watched.check()
        if isinstance(to, str) and to in self._saved and where is None:
            self._state = self._saved[to]
            return
        earlier = self._earlier(to)
        if where is not None:
            chosen = self._flat_mask(where)
            flat = torch.where(chosen, earlier.flat, self._state.weights.flat)
            earlier = replace(self._state.weights, flat=flat)
        self._move(earlier)

    def save(self, name: str) -> None:
        """As `privaudit.Cohort.save` says."""
        self._watched.check()
        if name in ("best", "initial"):
            raise PluginError(f"a state cannot be saved as {name!r}, which rewind() defines")
        self._saved[name] = self._state

    def fork(self) -> Cohort:
        """As `privaudit.Cohort.fork` says."""
        self._watched.check()
        other = copy.copy(self)
        other._saved, other._notes = dict(self._saved), dict(self._notes)
        other._watched = Watched()
        return other

    def companions(self) -> list[Callable[..., Tensor] | None]:
        """Each model's trained second player, called as `companion(logits, y)` on the host."""
        return players(self._companion, self.states())

    def fit_companion(self, epochs: int, batch_size: int = 64) -> None:
        """As `privaudit.Cohort.fit_companion` says."""
        self._watched.check()
        self.looks.note("the training of a companion", members=True)
        now, owner = self._state.weights, (self.sparsifier, self.defense)
        second = self._companion, self._afterwards
        work = epochs, batch_size
        self._move(fit_companions(self._fits, *second, now, owner, self._rows, self.seeds, *work))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Each model's own."""
        return self._seeds

    @property
    def training(self) -> Training:
        """The recipe's schedule."""
        return self._training

    @property
    def data(self) -> DeviceDataset:
        """The examples, on the device."""
        return self._data

    @property
    def records(self) -> list[FitRecord]:
        """What each fit had to do, in order."""
        return self._fits.records

    def seconds_per_step(self) -> float:
        """Measured time of one model's training step, where a plan found work to do."""
        return self._fits.seconds_per_step()

    def _fit(
        self,
        tune: bool,
        defense: Plugin | None,
        changes: Mapping[str, object],
        sparsifier: Plugin | None = None,
    ) -> Fit:
        second = None if self._afterwards else self._companion
        in_force, companion = defense_in_force(self.defense, second, tune, defense)
        shaping = sparsifier_in_force(self._prepared_by, sparsifier or self.sparsifier)
        objective = Objective(self._network, shaping, in_force, companion, tune)
        weights = self._state.weights if companion else self._state.weights.alone()
        fit = Fit(
            objective=objective,
            options=scheduled(in_force, self._options(changes)),
            start=with_memory(objective, weights, self.seeds, self._state.fits),
            trainable=self._trainable(),
            rows=self._rows,
            seeds=self.seeds,
            number=self._state.fits,
            defended=in_force is self.defense,
            prepared_by=self._prepared_by,
        )
        if in_force.reference and not all(len(r.reference) for r in self._rows):
            raise PluginError(
                f"defense {in_force.name!r} trains with reference examples, and a model "
                "has none: raise the recipe's split.reference"
            )
        return fit

    def _options(self, changes: Mapping[str, object]) -> Training:
        try:
            asked = Training.model_validate(self._training.model_dump() | dict(changes))
        except ValidationError as error:
            first = error.errors()[0]
            option = ".".join(map(str, first["loc"])) or "training"
            raise PluginError(f"fit({option}=...): {first['msg']}") from error
        return resolved(asked, self._network.device)

    def _earlier(self, to: str | int) -> State:
        if to == "best":
            return self._best
        if to == "initial":
            return self._initial
        if isinstance(to, str):
            if to not in self._saved:
                names = ", ".join(["best", "initial", *self._saved])
                raise PluginError(f"rewind({to!r}): no such state; there are {names}")
            return self._saved[to].weights
        if self._first is None or not 0 <= to <= self._first.options.epochs:
            raise PluginError(f"rewind({to}): the first fit has no such epoch")
        if not to:
            return self._initial
        return self._fits.run(replace(self._first, until=to)).last.beside(self._initial)
