"""What a sparsifier sees: M models of one architecture that train, prune and rewind together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from privaudit.cohort.batches import Batches
from privaudit.cohort.build import build_companions, build_networks
from privaudit.cohort.game import Game
from privaudit.cohort.gradients import mean_gradients
from privaudit.cohort.journal import Journal
from privaudit.cohort.masks import keep_largest
from privaudit.cohort.network import Network
from privaudit.cohort.train import Rows, Weighed, answer
from privaudit.cohort.units import Fit, FitRecord, Units
from privaudit.errors import PluginError
from privaudit.events import Event
from privaudit.plugin import Defense, Model, Sparsifier, overrides
from privaudit.training import Training
from privaudit.values import Examples, Role

Named = Mapping[str, Tensor]


@dataclass(frozen=True)
class _State:
    """Where the models are: weights on the host, masks, and how many fits led here."""

    weights: Weighed
    kept: Tensor  # (M, P) bool: not pruned
    frozen: Tensor  # (M, P) bool
    fits: int = 0


class Cohort:
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
    ) -> None:
        device = torch.device(device)
        dtype = torch.float64 if training.precision == "fp64" else torch.float32
        self.seeds = tuple(int(s) for s in seeds)
        self.sparsifier, self.defense, self.training = sparsifier, defense, training
        self._rows = [_rows(r) for r in role]
        self._network, flat, buffers, self._dense = build_networks(
            model, sparsifier, examples.shape, len(examples.classes), self.seeds, device, dtype
        )
        self._companion, second, second_buffers = build_companions(
            defense, len(examples.classes), self.seeds, device, dtype
        )
        self._data = Batches(examples, device, dtype)
        self._units = Units(
            self._network, self._data, journal or Journal(None), model, plan, on_event
        )
        weights = Weighed(flat, buffers, second, second_buffers)
        self._state = _State(
            weights, torch.ones_like(flat, dtype=torch.bool), torch.zeros_like(flat).bool()
        )
        self._initial, self._best = weights, weights
        self._saved: dict[str, _State] = {}
        self._first: Fit | None = None

    def __len__(self) -> int:
        """M."""
        return len(self.seeds)

    def fit(
        self,
        epochs: int | None = None,
        *,
        tune: bool = False,
        defense: Defense | None = None,
        **training: object,
    ) -> None:
        """Train every model from where it is, with a fresh optimiser and schedule.

        Each model ends at its last epoch; the state of its best validation epoch (the last
        where there is no validation) is kept for `rewind("best")`.

        Args:
            epochs: instead of the recipe's.
            tune: this is fine-tuning: a defense that acts in fine-tuning only is in force.
            defense: in force instead of the recipe's; it must not bring a companion.
            training: other options of the recipe's `training` to override.
        """
        changes = training | ({} if epochs is None else {"epochs": epochs})
        fit = self._fit(tune, defense, changes)
        self._first = self._first or fit
        trained = self._units.run(fit)
        self._best = trained.best
        self._move(trained.last, fits=self._state.fits + 1)

    def match(self, rows: Tensor, accuracy: Tensor) -> list[Cohort]:
        """Train, and stop each model where it is as accurate as another: controls for audits.

        Args:
            rows: (M, N) bool: each model's examples on which accuracy is measured.
            accuracy: (M, L) float64 wanted.

        Returns:
            L cohorts, each model at the epoch whose accuracy comes nearest, the first of equals.
        """
        chosen = [r.nonzero()[:, 0] for r in rows]
        states = self._units.matched(self._fit(False, None, {}), chosen, accuracy)
        controls = [self.fork() for _ in states]
        for control, weights in zip(controls, states, strict=True):
            control._move(weights, fits=self._state.fits + 1)
        return controls

    def rewind(self, to: str | int = "best", where: Named | None = None) -> None:
        """Put weights back to an earlier state; masks stay, unless `to` is a saved name.

        Args:
            to: "best" (of the last fit), "initial", a name given to `save`, or the number of
                epochs of the first fit after which to take the weights.
            where: (M, *shape) bool by name: only these weights go back.

        Raises:
            PluginError: there is no such state.
        """
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
        """Keep weights and masks under a name, to rewind to.

        Raises:
            PluginError: the name means something else to `rewind`.
        """
        if name in ("best", "initial"):
            raise PluginError(f"a state cannot be saved as {name!r}, which rewind() defines")
        self._saved[name] = self._state

    def fork(self) -> Cohort:
        """A cohort that starts here and leaves this one undisturbed."""
        other = copy.copy(self)
        other._saved = dict(self._saved)
        return other

    def prune(
        self,
        keep: float | Tensor,
        scores: Named | None = None,
        scope: Literal["global", "layer"] = "global",
    ) -> None:
        """Set the least important weights to zero, for good.

        Args:
            keep: share, 0 to 1, of what is not yet pruned that stays; (M,) for one per model.
            scores: importance (M, *shape) by name; only the named weights are candidates. By
                default the magnitude of all weights of two and more axes: no bias, no BatchNorm.
            scope: compare all candidates with each other, or those of each layer.

        Raises:
            PluginError: a share outside 0 to 1, an unknown name or a wrong shape.
        """
        share = torch.as_tensor(keep, dtype=torch.float64).expand(len(self))
        if not bool(((share >= 0) & (share <= 1)).all()):
            raise PluginError(f"prune(keep=...) takes a share from 0 to 1, got {keep}")
        if scores is None:
            scores = {n: w.abs() for n, w in self.weights.items() if w.ndim > 2}
        named = scores
        self._check(named)
        masks = self.masks
        groups = [list(named)] if scope == "global" and named else [[n] for n in named]
        changed: dict[str, Tensor] = {}
        for group in groups:
            flat = [named[n].detach().cpu().flatten(1) for n in group]
            kept = [masks[n].flatten(1) for n in group]
            mask = keep_largest(torch.cat(flat, 1), torch.cat(kept, 1), share)
            parts = torch.split(mask, [k.shape[1] for k in kept], 1)
            changed |= {n: p.view_as(masks[n]) for n, p in zip(group, parts, strict=True)}
        kept_flat = self._network.flatten(changed, self._state.kept)
        self._state = replace(self._state, kept=kept_flat)
        self._move(self._state.weights)

    def freeze(self, where: Named) -> None:
        """Let the chosen weights, (M, *shape) bool by name, move no more."""
        self._state = replace(self._state, frozen=self._state.frozen | self._flat_mask(where))

    def gradients(
        self, loss: Callable[[Tensor, Tensor], Tensor], rows: str = "member"
    ) -> dict[str, Tensor]:
        """Gradients (M, *shape) by name of `loss(logits, y)`, a mean over examples.

        Args:
            loss: of logits (B, C) and labels (B,), differentiable, a mean over its batch.
            rows: "member", "validation" or "reference": over which of each model's examples.
        """
        chosen = [getattr(r, rows) for r in self._rows]
        owner = (self.sparsifier, self.defense)
        flat = mean_gradients(self._units, self._state.weights, loss, chosen, owner)
        return self._network.views(flat)

    def logits(self, x: Tensor | None = None) -> Tensor:
        """Answers (M, N, C) of all models to all examples, or to x (n, ...) in their units."""
        data = self._data if x is None else self._data.on(x)
        rows = torch.arange(len(data.y), device=self._network.device)
        return torch.stack(
            [
                answer(
                    self._network, w.flat[0], {n: b[0] for n, b in w.buffers.items()}, data, rows
                )
                for w in self.each()
            ]
        ).cpu()

    def set(self, weights: Named) -> None:
        """Give weights, (M, *shape) by name, new values; pruned ones stay zero.

        Raises:
            PluginError: an unknown name or a wrong shape.
        """
        self._check(weights)
        flat = self._network.flatten(weights, self._state.weights.flat)
        self._move(replace(self._state.weights, flat=flat))

    def density(self) -> Tensor:
        """(M,) nonzero parameters of each model over the dense network's parameters."""
        return self.nonzero() / self._dense

    def nonzero(self) -> Tensor:
        """(M,) float64: nonzero parameters of each model."""
        return (self._state.weights.flat != 0).sum(1).double()

    @property
    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights, (M, *shape) by name."""
        return self._network.views(self._state.weights.flat.clone())

    @property
    def buffers(self) -> dict[str, Tensor]:
        """A copy of what a state dict holds beside the weights, (M, ...) by name."""
        kept = self._network.module.state_dict()
        return {n: b.clone() for n, b in self._state.weights.buffers.items() if n in kept}

    @property
    def initial_weights(self) -> dict[str, Tensor]:
        """A copy of the weights before any training, (M, *shape) by name."""
        return self._network.views(self._initial.flat.clone())

    @property
    def masks(self) -> dict[str, Tensor]:
        """What is not pruned, (M, *shape) bool by name."""
        return self._network.views(self._state.kept.clone())

    @property
    def dense_parameters(self) -> int:
        """Parameters of the network before anything was made sparse."""
        return self._dense

    @property
    def network(self) -> Network:
        """The structure the models share."""
        return self._network

    @property
    def data(self) -> Batches:
        """The examples, on the device."""
        return self._data

    @property
    def records(self) -> list[FitRecord]:
        """What each fit had to do, in order."""
        return self._units.records

    def seconds_per_step(self) -> float:
        """Measured time of one model's training step, where a plan found work to do."""
        return self._units.seconds_per_step()

    def each(self) -> list[Weighed]:
        """Every model on its own (K = 1), on the device."""
        weights = self._state.weights
        return [weights[torch.tensor([m])].to(self._network.device) for m in range(len(self))]

    def _fit(self, tune: bool, defense: Defense | None, changes: Mapping[str, object]) -> Fit:
        fit = Fit(
            game=Game(self._network, self.sparsifier, *self._in_force(tune, defense)),
            options=Training.model_validate(self.training.model_dump() | dict(changes)),
            start=self._state.weights,
            trainable=self._trainable(),
            rows=self._rows,
            seeds=self.seeds,
            number=self._state.fits,
        )
        if fit.game.defense.reference and not all(len(r.reference) for r in self._rows):
            raise PluginError(
                f"defense {fit.game.defense.name!r} trains with reference examples, and a model "
                "has none: raise the recipe's split.reference"
            )
        return fit

    def _in_force(self, tune: bool, defense: Defense | None) -> tuple[Defense, Network | None]:
        if defense is not None:
            if overrides(defense, "companion"):
                raise PluginError(f"fit(defense={defense.name!r}) cannot bring a second network")
            return defense, None
        if self.defense.during == "all" or tune:
            return self.defense, self._companion
        return Defense(name=""), None

    def _earlier(self, to: str | int) -> Weighed:
        if to == "best":
            return self._best
        if to == "initial":
            return self._initial
        if isinstance(to, str):
            if to not in self._saved:
                known = ", ".join(["best", "initial", *self._saved])
                raise PluginError(f"rewind({to!r}): no such state; there are {known}")
            return self._saved[to].weights
        if self._first is None or not 0 <= to <= self._first.options.epochs:
            raise PluginError(f"rewind({to}): the first fit has no such epoch")
        return self._units.run(self._first, until=to).last if to else self._initial

    def _move(self, weights: Weighed, fits: int | None = None) -> None:
        """Take new weights, zero where pruned."""
        kept = self._state.kept
        flat = weights.flat if bool(kept.all()) else weights.flat * kept
        self._state = replace(
            self._state,
            weights=replace(weights, flat=flat),
            fits=self._state.fits if fits is None else fits,
        )

    def _trainable(self) -> Tensor | None:
        free = self._state.kept & ~self._state.frozen
        return None if bool(free.all()) else free

    def _flat_mask(self, where: Named) -> Tensor:
        self._check(where)
        return self._network.flatten(where, torch.zeros_like(self._state.kept))

    def _check(self, named: Named) -> None:
        shapes = dict(zip(self._network.names, self._network.shapes, strict=True))
        for name, tensor in named.items():
            if name not in shapes:
                raise PluginError(f"no weight is called {name!r}; there are {', '.join(shapes)}")
            if tuple(tensor.shape) != (len(self), *shapes[name]):
                raise PluginError(
                    f"weight {name!r} has shape {(len(self), *shapes[name])}, "
                    f"got {tuple(tensor.shape)}"
                )


def _rows(role: Tensor) -> Rows:
    def of(what: Role) -> Tensor:
        return (role == what).nonzero()[:, 0]

    return Rows(of(Role.MEMBER), of(Role.VALIDATION), of(Role.REFERENCE))
