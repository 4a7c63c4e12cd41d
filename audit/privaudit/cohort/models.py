"""The weights of M models of one architecture: to read, set, prune and freeze."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from privaudit.cohort.watched import Watched
from privaudit.errors import PluginError
from privaudit.networks.network import Network
from privaudit.networks.state import State

Named = Mapping[str, Tensor]


@dataclass(frozen=True)
class Snapshot:
    """Where the models are: weights on the host, masks, and how many fits led here."""

    weights: State
    kept: Tensor  # (M, P) bool: not pruned
    frozen: Tensor  # (M, P) bool
    fits: int = 0


class StackedModels:
    """M models of one architecture, each with its own weights and mask.

    Args:
        network: the structure the models share.
        weights: where they start, on the host.
        dense: parameters of the network before anything was made sparse.

    Attributes:
        history: (M, E, 3) of the last fit, as `Trained` has it; of no epoch before the first.
    """

    def __init__(self, network: Network, weights: State, dense: int) -> None:
        everything = torch.ones_like(weights.flat, dtype=torch.bool)
        self._network, self._dense = network, dense
        self._initial = weights
        self._state = Snapshot(weights, everything, ~everything)
        self._original: Snapshot | None = None
        self._notes: dict[str, Tensor] = {}
        self._watched = Watched()
        self.history = torch.zeros((len(weights.flat), 0, 3), dtype=torch.float64)

    def __len__(self) -> int:
        """M."""
        return len(self._state.kept)

    def prune(
        self,
        keep: float | Tensor,
        scores: Named | None = None,
        scope: Literal["global", "layer"] = "global",
    ) -> None:
        """As `privaudit.Cohort.prune` says."""
        share = torch.as_tensor(keep, dtype=torch.float64).expand(len(self))
        if not bool(((share >= 0) & (share <= 1)).all()):
            raise PluginError(f"prune(keep=...) takes a share from 0 to 1, got {keep}")
        if scores is None:
            views = self._network.views(self._state.weights.flat)
            scores = {n: w.abs() for n, w in views.items() if w.ndim > 2}
        named = scores
        self._check(named)
        masks = self._network.views(self._state.kept)
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

    def prune_where(self, where: Named) -> None:
        """As `privaudit.Cohort.prune_where` says."""
        self._state = replace(self._state, kept=self._state.kept & ~self._flat_mask(where))
        self._move(self._state.weights)

    def freeze(self, where: Named) -> None:
        """As `privaudit.Cohort.freeze` says."""
        self._state = replace(self._state, frozen=self._state.frozen | self._flat_mask(where))

    def set(self, weights: Named) -> None:
        """As `privaudit.Cohort.set` says."""
        self._check(weights)
        flat = self._network.flatten(weights, self._state.weights.flat)
        self._move(replace(self._state.weights, flat=flat))

    def mark_original(self) -> None:
        """As `privaudit.Cohort.mark_original` says."""
        self._watched.check()
        if self._state.fits == 0:
            raise PluginError(
                "mark_original() before any fit(): untrained networks are no originals"
            )
        if not bool(self._state.kept.all()):
            raise PluginError("mark_original() after pruning: call it before anything is pruned")
        self._original = self._state

    @property
    def snapshot(self) -> Snapshot:
        """Where the models are; the same object for as long as nothing moves them."""
        return self._state

    @property
    def original(self) -> Snapshot | None:
        """Where the models were when `mark_original` was called; None where it was not."""
        return self._original

    def return_to(self, snapshot: Snapshot) -> None:
        """Be where the models once were."""
        self._state = snapshot

    def note(self, name: str, values: Tensor) -> None:
        """As `privaudit.Cohort.note` says."""
        if tuple(values.shape) != (len(self),):
            raise PluginError(
                f"note({name!r}) takes one number for each of {len(self)} models, shape "
                f"({len(self)},), got {tuple(values.shape)}"
            )
        self._notes[name] = values.detach().double().cpu()

    def take_notes(self) -> dict[str, Tensor]:
        """What has been noted since the last level, (M,) float64 by name; forgotten here."""
        notes, self._notes = self._notes, {}
        return notes

    def density(self) -> Tensor:
        """(M,) nonzero parameters of each model over the dense network's parameters."""
        return self.nonzero() / self._dense

    def nonzero(self) -> Tensor:
        """(M,) float64: nonzero parameters of each model."""
        return (self._state.weights.flat != 0).sum(1).double()

    def finite(self) -> Tensor:
        """(M,) bool: whether all weights of a model are numbers."""
        return self._state.weights.flat.isfinite().all(1)

    @property
    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights, (M, *shape) by name."""
        return self._network.views(self._watched.give("weights", self._state.weights.flat))

    @property
    def buffers(self) -> dict[str, Tensor]:
        """A copy of what a state dict holds beside the weights, (M, ...) by name."""
        kept = self._network.module.state_dict()
        return {n: b.clone() for n, b in self._state.weights.buffers.items() if n in kept}

    @property
    def initial_weights(self) -> dict[str, Tensor]:
        """A copy of the weights before any training, (M, *shape) by name."""
        return self._network.views(self._watched.give("initial_weights", self._initial.flat))

    @property
    def memory(self) -> dict[str, Tensor]:
        """A copy of what the sparsifier remembered, (M, ...) by name."""
        held = self._state.weights.memory
        return {n: self._watched.give("memory", t) for n, t in held.items()}

    @property
    def masks(self) -> dict[str, Tensor]:
        """What is not pruned, (M, *shape) bool by name."""
        return self._network.views(self._watched.give("masks", self._state.kept))

    @property
    def kept(self) -> Tensor:
        """(M, P) bool: which of the flat weights are not pruned."""
        return self._state.kept

    @property
    def dense_parameters(self) -> int:
        """Parameters of the network before anything was made sparse."""
        return self._dense

    @property
    def network(self) -> Network:
        """The structure the models share."""
        return self._network

    def states(self) -> list[State]:
        """Every model's state, without a leading axis, on the device."""
        weights = replace(self._state.weights, memory={})  # on which no answer depends
        device = self._network.device
        # A copy of each: products round otherwise where a tensor starts elsewhere in memory.
        return [weights[torch.tensor([m])].to(device).one(0) for m in range(len(self))]

    def check_copies(self) -> None:
        """See that nobody has written into copies that were given away.

        Raises:
            PluginError: somebody has.
        """
        self._watched.check()

    def _move(self, weights: State, fits: int | None = None) -> None:
        """Take new weights, zero where pruned."""
        self._watched.check()
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
        self._watched.used(named)
        shapes = dict(zip(self._network.names, self._network.shapes, strict=True))
        for name, tensor in named.items():
            if name not in shapes:
                raise PluginError(f"no weight is called {name!r}; there are {', '.join(shapes)}")
            if tuple(tensor.shape) != (len(self), *shapes[name]):
                raise PluginError(
                    f"weight {name!r} has shape {(len(self), *shapes[name])}, "
                    f"got {tuple(tensor.shape)}"
                )


def keep_largest(scores: Tensor, kept: Tensor, keep: Tensor) -> Tensor:
    """The mask after pruning the smallest scores of what is not yet pruned.

    Exactly round(keep x remaining) stay in each row; of equal scores the first stay.

    Args:
        scores: (M, Q).
        kept: (M, Q) bool: not yet pruned.
        keep: (M,) share of the remaining ones that stays.
    """
    stays = (keep.double() * kept.sum(1)).round().long().tolist()
    mask = kept.clone()
    for row, count in enumerate(stays):
        mask[row, kept[row]] = _among_largest(scores[row, kept[row]], count)
    return mask


def _among_largest(scores: Tensor, count: int) -> Tensor:
    """(Q,) bool: so many of the largest scores (Q,), of equal ones the first; NaN is largest.

    By the one score that is just large enough, which takes a tenth of the time of sorting all.
    """
    if count in (0, len(scores)):
        return torch.full_like(scores, bool(count), dtype=torch.bool)
    least = scores.kthvalue(len(scores) - count + 1).values
    above = (scores > least) | (scores.isnan() & ~least.isnan())
    equal = (scores == least) | (scores.isnan() & least.isnan())
    return above | (equal & (equal.cumsum(0) <= count - above.sum()))
