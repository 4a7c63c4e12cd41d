"""How missing units of a fit are made: which models together, and in which process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.events import EpochDone, Event
from privaudit.jobs.local import Workers
from privaudit.jobs.streams import Call
from privaudit.store.journal import Journal
from privaudit.store.units import Unit
from privaudit.train.dataset import DeviceDataset
from privaudit.train.device_rules import StackLimits, models_at_once, step_work
from privaudit.train.fit import Fit, Match
from privaudit.train.fitting import Part, train_fitting, train_units_remotely
from privaudit.train.snapshots import Snapshots, kept_together

logger = logging.getLogger(__name__)

# Below these a fit is over sooner than its parts are sent out; multiply-adds, and steps. Beside
# the attacks of processes, a fit here of two threads would take three times as long as alone: a
# convolution's threads spin while they wait for each other.
_WORTH, _MANY_STEPS = 2**32, 2000
_SNAPSHOT_SECONDS = 120.0
_SNAPSHOT_STATES = 8  # a snapshot holds fewer, or as many units


@dataclass(frozen=True)
class Group:
    """Models of a fit that are made together.

    Attributes:
        models: which.
        part: what they go through.
    """

    models: list[int]
    part: Part

    def done(self) -> None:
        """Their units are safe."""
        if self.part.snapshots:
            self.part.snapshots.drop()


class UnitMaker:
    """Trains what a journal lacks, here or in the processes there are.

    Args:
        data: the examples.
        journal: where snapshots are kept.
        on_event: told about epochs.
        workers: processes to share the models of long fits out to.
        limits: what the run has learnt about the device's memory.
    """

    def __init__(
        self,
        data: DeviceDataset,
        journal: Journal,
        on_event: Callable[[Event], None],
        workers: Workers | None,
        limits: StackLimits | None,
    ) -> None:
        self._data, self._journal, self._tell = data, journal, on_event
        self._workers, self._limits = workers, limits or StackLimits()

    def at_once(self, fit: Fit) -> int:
        """How many models of a fit share their steps, where one process trains them."""
        asked = fit.options.stack or models_at_once(
            fit.objective, self._data, fit.options, fit.way, remembered=fit.start.remembered
        )
        return min(asked, self._limits.most(self._kind(fit)))

    def planned(
        self, fit: Fit, match: Match | None, keys: list[str], size: int, missing: list[int]
    ) -> Making:
        """What there is to do.

        Args:
            fit: of all models.
            match: where to stop each; None: at its end.
            keys: of all models' units.
            size: bytes that a unit takes at most.
            missing: the models whose units are not there.
        """
        return Making(self, fit, match, keys, size, missing)

    def helpers(self, fit: Fit, match: Match | None, missing: list[int]) -> Workers | None:
        """The processes to train in, where they are quicker than this one."""
        if not self._workers or len(missing) < 2:
            return None
        kind = self._data.y.device.type
        if any(torch.device(device).type != kind for device in self._workers.devices):
            return None  # they are there for other work
        steps_of_all = fit.steps
        steps = [steps_of_all[m] for m in missing]
        first = torch.tensor(missing[:1])
        worth = sum(steps) * step_work(fit.objective, self._data, fit.options)
        if worth < _WORTH and sum(steps) < _MANY_STEPS:
            return None
        part = fit[first], None if match is None else match[first]
        return self._workers if self._workers.accept(part) else None

    def kept_together(
        self, fit: Fit, keys: list[str], size: int, missing: list[int]
    ) -> list[tuple[str, ...]]:
        """The keys of models that an earlier run was about to train together."""
        if not self._journal.keeps:
            return []
        most = len(missing) * (_SNAPSHOT_STATES * size + 64 * fit.epochs + 2**16)
        return kept_together(self._journal, fit.way, [keys[m] for m in missing], most)

    def snapshots(self, fit: Fit, keys: tuple[str, ...]) -> Snapshots | None:
        """Where the snapshots of some models lie."""
        if not self._journal.keeps:
            return None
        return Snapshots(self._journal, fit.way, keys, _SNAPSHOT_SECONDS)

    def made(
        self, groups: Iterator[Group], helpers: Workers | None
    ) -> Iterator[tuple[Group, list[Unit]]]:
        """The units of each group, as soon as they are there."""
        if helpers is None:
            for group in groups:
                fit, on_epoch = group.part.fit, self._teller(group.part.fit.epochs)
                yield (
                    group,
                    train_fitting(
                        group.part,
                        self._data,
                        on_epoch,
                        lambda many, few, fit=fit: self._smaller(fit, many, few),  # type: ignore[misc]
                    ),
                )
            return
        sent: list[Group] = []

        def calls() -> Iterator[Call]:
            where = helpers.share(self._data.examples)
            for group in groups:
                sent.append(group)
                yield train_units_remotely, (where, self._data.dtype, group.part)

        def heard(told: tuple[str, int, list[list[float]] | int]) -> None:
            fit = sent[0].part.fit
            if told[0] == "smaller":
                self._smaller(fit, *told[1:])  # type: ignore[arg-type]
            else:
                self._teller(fit.epochs)(told[1], torch.tensor(told[2]))

        for number, units in helpers.run(calls(), heard):
            yield sent[number], units

    def _smaller(self, fit: Fit, many: int, few: int) -> None:
        """Fewer models share the steps of such fits from now on."""
        if self._limits.lower(self._kind(fit), few):
            logger.warning(
                "%d models are too many for the device's memory: this run goes on with %d at "
                "once; training.stack: %d starts so",
                many,
                few,
                few,
            )

    def _kind(self, fit: Fit) -> tuple[int, ...]:
        return fit.objective.network.size, step_work(fit.objective, self._data, fit.options)

    def _teller(self, epochs: int) -> Callable[[int, Tensor], None]:
        def on_epoch(epoch: int, history: Tensor) -> None:
            loss, accuracy, validation = history.nanmean(0).tolist()
            self._tell(EpochDone(len(history), epoch + 1, epochs, loss, accuracy, validation))

        return on_epoch


class Making:
    """The units of one fit that are missing.

    Attributes:
        at_once: how many models share their steps.
    """

    def __init__(
        self,
        maker: UnitMaker,
        fit: Fit,
        match: Match | None,
        keys: list[str],
        size: int,
        missing: list[int],
    ) -> None:
        self._maker, self._fit, self._match = maker, fit, match
        self._keys, self._size, self._missing = keys, size, missing
        self._helpers = maker.helpers(fit, match, missing)
        self.at_once = maker.at_once(fit)
        if self._helpers and not fit.options.stack:
            self.at_once = min(self.at_once, -(-len(missing) // len(self._helpers)))

    def units(self) -> Iterator[tuple[Group, list[Unit]]]:
        """The units of each group of models, as soon as they are there."""
        return self._maker.made(self._groups(), self._helpers)

    def _groups(self) -> Iterator[Group]:
        """Models that have a snapshot together, then the others, as many at once as they may."""
        number = {key: model for model, key in enumerate(self._keys)}
        together = self._maker.kept_together(self._fit, self._keys, self._size, self._missing)
        for keys in together:
            models = [number[key] for key in keys]
            for part in self._part(models).divided(self._maker.at_once(self._fit)):
                yield Group(models[: len(part)], part)
                models = models[len(part) :]
        begun = {number[key] for keys in together for key in keys}
        rest = [model for model in self._missing if model not in begun]
        while rest:
            # Less than before, where memory ran out meanwhile.
            most = min(self.at_once, self._maker.at_once(self._fit))
            yield Group(rest[:most], self._part(rest[:most]))
            rest = rest[most:]

    def _part(self, models: list[int]) -> Part:
        some = torch.tensor(models)
        return Part(
            self._fit[some],
            None if self._match is None else self._match[some],
            self._maker.snapshots(self._fit, tuple(self._keys[m] for m in models)),
        )
