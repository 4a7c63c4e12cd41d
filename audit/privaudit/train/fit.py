"""One call of `Cohort.fit`, and what it makes of some of its models, here or in another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from privaudit.api.boundary import guests, written
from privaudit.api.float32 import float32_products
from privaudit.api.plugin import Plugin, Sparsifier
from privaudit.api.watch import Seal
from privaudit.keys import derive
from privaudit.networks.state import Rows, State, Trained
from privaudit.store.units import Unit, pack, pack_weights
from privaudit.train.dataset import DeviceDataset
from privaudit.train.loop import Job, OnEpoch, train
from privaudit.train.matching import Matcher
from privaudit.train.objective import Objective
from privaudit.train.snapshots import Keeper, Snapshots
from privaudit.train.ways.chain_step import sparse_layer
from privaudit.training import Training

EpochTold = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Fit:
    """Everything that determines what a fit makes.

    Attributes:
        objective: the network and the hooks in force.
        options: the schedule.
        start: weights of M models, on the host.
        trainable: (M, P) bool, or None where every weight moves.
        rows: M models' examples.
        seeds: M models' own.
        number: how many fits led to the start.
        defended: the cohort's own defense is in force.
        until: stop after so many epochs, to look at an early state.
        way: how steps are taken, a name in `ways.choose.WAYS`.
        plugins: whose code runs, so that errors can name its author's.
        prepared_by: the sparsifier that has prepared the network; None: that of the objective.
    """

    objective: Objective
    options: Training
    start: State
    trainable: Tensor | None
    rows: list[Rows]
    seeds: tuple[int, ...]
    number: int
    defended: bool = True
    until: int | None = None
    way: str = "vmapped"
    plugins: tuple[Plugin, ...] = ()
    prepared_by: Sparsifier | None = None

    def __getitem__(self, models: Tensor) -> Fit:
        """The same for some of its models, (k,) int64."""
        return replace(
            self,
            start=self.start[models],
            trainable=None if self.trainable is None else self.trainable[models],
            rows=[self.rows[int(m)] for m in models],
            seeds=tuple(self.seeds[int(m)] for m in models),
        )

    @property
    def epochs(self) -> int:
        """How many there are to go through."""
        return self.options.passes(self.until)

    @property
    def steps(self) -> list[int]:
        """Each model's steps of training."""
        size = self.options.batch_size
        return [self.epochs * -(-len(r.member) // size) for r in self.rows]

    def run(
        self, data: DeviceDataset, on_epoch: OnEpoch | None, keeper: Keeper | None = None
    ) -> Trained:
        """Train all its models side by side.

        Args:
            data: the examples.
            on_epoch: told after each epoch.
            keeper: of snapshots.

        Raises:
            PluginError: the code of a plugin has raised.
            DamageError: it has written into what the models are trained on, or where they start.
        """
        start = {"the weights": self.start.flat, **self.start.buffers, **self.start.memory}
        seal = Seal(start)
        try:
            with float32_products(self.options.precision), guests(*self.plugins):
                return self._run_in_order(data, on_epoch, keeper)
        finally:  # whatever else went wrong, this is worse
            data.check(self.plugins)
            if name := seal.broken():
                raise written(self.plugins, name)

    def _run_in_order(
        self, data: DeviceDataset, on_epoch: OnEpoch | None, keeper: Keeper | None
    ) -> Trained:
        """With the weights in the order in memory that is the quickest."""
        layer = None
        if self.way == "chain":
            layer = sparse_layer(self.objective, data, self.options)
        if layer is None:
            return self._run(data, on_epoch, keeper)
        here = self.objective.network
        there = here.turned(layer)

        def turned(flat: Tensor) -> Tensor:
            return there.flatten(here.views(flat), flat)

        def back(now: State) -> State:
            return replace(now, flat=here.flatten(there.views(now.flat), now.flat))

        def tell(epoch: int, history: Tensor, now: Callable[[], State]) -> None:
            if on_epoch:
                on_epoch(epoch, history, lambda: back(now()))

        fit = replace(
            self,
            objective=self.objective.on(there),
            start=replace(self.start, flat=turned(self.start.flat)),
            trainable=None if self.trainable is None else turned(self.trainable),
        )
        trained = fit._run(data, tell, keeper)
        return replace(trained, last=back(trained.last), best=back(trained.best))

    def _run(self, data: DeviceDataset, on_epoch: OnEpoch | None, keeper: Keeper | None) -> Trained:
        device = data.y.device
        job = Job(
            self.objective.in_precision(self.options.precision),
            self.way,
            data,
            self.start.to(device),
            None if self.trainable is None else self.trainable.to(device),
            self.rows,
            [derive(seed, "fit", self.number) for seed in self.seeds],
            self.options,
            self.until,
            keeper,
        )
        return train(job, on_epoch)


@dataclass(frozen=True)
class Match:
    """Stop each model where it is as accurate as another.

    Attributes:
        rows: M models' examples, (n,) int64 each, on which accuracy is measured.
        wanted: (M, L) float64.
    """

    rows: list[Tensor]
    wanted: Tensor

    def __getitem__(self, models: Tensor) -> Match:
        """The same for some of the models, (k,) int64."""
        return Match([self.rows[int(m)] for m in models], self.wanted[models])


def train_units(
    fit: Fit,
    match: Match | None,
    data: DeviceDataset,
    on_epoch: EpochTold,
    snapshots: Snapshots | None = None,
) -> list[Unit]:
    """The units of all models of a fit, or of their matched states.

    Args:
        fit: what to do.
        match: where to stop each model; None: at its end.
        data: the examples.
        on_epoch: told after each epoch its number and its history, (K, 3).
        snapshots: where to keep what the fit has come to; None: nowhere.
    """
    count = len(fit.rows)
    if match is None:
        keeper = Keeper(snapshots) if snapshots else None
        trained = fit.run(data, lambda epoch, history, now: on_epoch(epoch, history), keeper)
        trained = trained.on_host()
        return [pack(trained, k) for k in range(count)]
    matcher = Matcher(fit.objective.network, data, match.rows, match.wanted)

    def watch(epoch: int, history: Tensor, now: Callable[[], State]) -> None:
        matcher.watch(now())
        on_epoch(epoch, history)

    fit.run(data, watch, Keeper(snapshots, matcher) if snapshots else None)
    host = [kept.to(torch.device("cpu")) for kept in matcher.kept]
    return [
        {n: t for j, kept in enumerate(host) for n, t in pack_weights(str(j), kept, k).items()}
        for k in range(count)
    ]
