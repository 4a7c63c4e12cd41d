"""Runs fits: looks each model's unit up, trains what is missing, keeps what was trained."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from privaudit.api.boundary import guests
from privaudit.api.plugin import Model, Plugin
from privaudit.cohort.making import UnitMaker
from privaudit.cohort.records import FitRecord as FitRecord
from privaudit.cohort.unit_keys import unit_keys
from privaudit.errors import PluginError
from privaudit.events import Event, FitDone, FitStarted
from privaudit.jobs.local import Workers
from privaudit.networks.network import Network
from privaudit.networks.probe import check_answers
from privaudit.networks.state import State, Trained
from privaudit.store.journal import Journal, digest
from privaudit.store.unit_file import Schema
from privaudit.store.units import (
    Unit,
    fit_schema,
    last_epochs,
    matched_schema,
    pack,
    pack_weights,
    unpack,
    unpack_weights,
)
from privaudit.train.dataset import DeviceDataset
from privaudit.train.device_rules import StackLimits
from privaudit.train.fit import Fit, Match
from privaudit.train.ways.choose import choose_way

logger = logging.getLogger(__name__)

_CALIBRATION_STEPS = (1, 3)  # the first warms up


class Fits:
    """The journal's side of a cohort.

    Args:
        network: the structure the models share.
        data: the examples.
        journal: where finished units are kept.
        model: the plugin that built the structure.
        plan: train nothing; a missing unit leaves its model where it was.
        on_event: told about progress.
        workers: processes to share the models of long fits out to.
        limits: what the run has learnt about the device's memory.
    """

    def __init__(
        self,
        network: Network,
        data: DeviceDataset,
        journal: Journal,
        model: Model,
        plan: bool,
        on_event: Callable[[Event], None] | None,
        workers: Workers | None = None,
        limits: StackLimits | None = None,
    ) -> None:
        self.network, self.data, self.journal = network, data, journal
        self.model = model
        self.plan = plan
        self.records: list[FitRecord] = []
        self._waiting: Fit | None = None  # a fit that a plan found work in
        self._checked = False
        self._ways: dict[str, str] = {}
        self._tell = on_event or (lambda event: None)
        self._maker = UnitMaker(data, journal, self._tell, None if plan else workers, limits)
        examples = data.examples
        self.source = digest(
            examples.x, examples.y, examples.mean, examples.std, str(examples.augmentation), model
        )

    def run(self, fit: Fit) -> Trained:
        """The state of all M models after a fit."""

        def stay(model: int) -> Unit:
            here = fit.start[torch.tensor([model])]
            nothing = torch.zeros(1, 0, 3, dtype=torch.float64)
            return pack(Trained(here, here, nothing, torch.zeros(1, dtype=torch.int64)), 0)

        schema = fit_schema(fit.start, fit.epochs)
        return unpack(self._collect(fit, None, unit_keys(self.source, fit), schema, stay))

    def matched(self, fit: Fit, rows: list[Tensor], wanted: Tensor) -> list[State]:
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
            for m, key in enumerate(unit_keys(self.source, fit))
        ]

        def stay(model: int) -> Unit:
            return {n: t for j in levels for n, t in pack_weights(str(j), fit.start, model).items()}

        schema = matched_schema(fit.start, len(levels))
        units = self._collect(fit, Match(rows, wanted), keys, schema, stay)
        return [unpack_weights(str(j), units) for j in levels]

    def _collect(
        self,
        fit: Fit,
        match: Match | None,
        keys: list[str],
        schema: Schema,
        stay: Callable[[int], Unit],
    ) -> list[Unit]:
        """Every model's unit: from the journal, or made, as many at once as the rule says."""
        self.data.check(self._plugins(fit))
        self._check(fit)
        units = {m: unit for m, k in enumerate(keys) if (unit := self.journal.find(k, schema))}
        missing = [m for m in range(len(keys)) if m not in units]
        if missing:
            fit = replace(fit, way=self._way(fit), plugins=self._plugins(fit))
        making = self._maker.planned(fit, match, keys, schema.most, missing)
        self._record(fit, missing, making.at_once, schema.most)
        if self.plan and missing:
            self._waiting = self._waiting or fit
            units |= {m: stay(m) for m in missing}
            missing = []
        self.journal.prepare(keys[m] for m in missing)
        started = time.monotonic()
        for group, new in making.units() if missing else ():
            self.data.check(self._plugins(fit))
            made = dict(zip(group.models, new, strict=True))
            self.journal.keep(schema.name, {keys[m]: unit for m, unit in made.items()})
            group.done()
            units |= made
        if missing:
            ends = last_epochs([units[m] for m in missing])
            self._tell(FitDone(len(missing), fit.epochs, time.monotonic() - started, *ends))
        return [units[m] for m in range(len(keys))]

    def _check(self, fit: Fit) -> None:
        """See once, before anything is trained, that the network answers as it must."""
        if self._checked:
            return
        self._checked = True
        examples = self.data.examples
        try:
            with guests(*self._plugins(fit)):
                check_answers(
                    self.network,
                    fit.start.one(0),
                    self.data.plain,
                    self.model.name,
                    len(examples.classes),
                    fit.options.batch_size,
                    len(examples),
                )
        except PluginError as error:
            if not error.original:
                raise
            shape = f"the examples are of shape {tuple(examples.shape)}"
            raise PluginError(f"{error}; {shape}", error.original) from error

    def _plugins(self, fit: Fit) -> tuple[Plugin, ...]:
        """Whose code a fit runs."""
        shaping, defense = fit.objective.sparsifier, fit.objective.defense
        preparing = [] if fit.prepared_by in (None, shaping) else [fit.prepared_by]
        return self.model, shaping, *filter(None, preparing), defense

    def _way(self, fit: Fit) -> str:
        """How the models' steps are taken, tried once for each set of hooks in force."""
        objective = fit.objective
        options = fit.options.model_dump(mode="json", include={"augment", "compile", "precision"})
        key = digest(objective.sparsifier, objective.defense, objective.tuning, options)
        if key not in self._ways:
            with guests(*self._plugins(fit)):
                choice = choose_way(
                    objective, self.data, fit.start, fit.rows, fit.options, self._plugins(fit)
                )
            self._ways[key] = choice.way
            if choice.reason:
                words = "networks of model %r train the %s way, which is slower: %s"
                logger.warning(words, self.model.name, choice.way, choice.reason)
        return self._ways[key]

    @property
    def waits(self) -> bool:
        """Whether a plan has found something to train, so that later weights are not known."""
        return self._waiting is not None

    def seconds_per_step(self) -> float:
        """Seconds that a step of one model takes in the first fit a plan found work in.

        Measured on a few real steps of as many models as would share them; 0 without work.
        """
        fit = self._waiting
        if fit is None:
            return 0.0
        models = torch.arange(min(self._maker.at_once(fit), len(fit.rows)))
        size = fit.options.batch_size
        seconds = 0.0
        for count in _CALIBRATION_STEPS:
            rows = [
                replace(r, member=r.member[: size * count], validation=r.validation[:0])
                for r in (fit.rows[int(m)] for m in models)
            ]
            short = replace(
                fit[models], rows=rows, options=fit.options.model_copy(update={"epochs": 1})
            )
            started = time.perf_counter()
            short.run(self.data, None)
            steps = max(-(-len(r.member) // size) for r in rows)
            seconds = (time.perf_counter() - started) / (steps * len(models))
        return seconds

    def _record(self, fit: Fit, missing: list[int], at_once: int, size: int) -> None:
        steps, already = fit.steps, len(fit.rows) - len(missing)
        record = FitRecord(
            models=len(fit.rows),
            found=already,
            epochs=fit.epochs,
            steps=sum(steps[m] for m in missing),
            disk=size * len(missing),
            stack=at_once,
            rate=fit.epochs / max(1, min(steps)),
            defended=min(steps) if fit.defended else 0,
        )
        self.records.append(record)
        logger.debug(
            "fit of %r: %d models, %d found, %d share a step the %s way, %d epochs",
            self.model.name,
            record.models,
            record.found,
            record.stack,
            fit.way,
            record.epochs,
        )
        self._tell(FitStarted(record.models, record.found, record.epochs))
