"""What scripts may ask about examples, and a record of what they have asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from privaudit.api.float32 import float32_products
from privaudit.api.plugin import Defense, Sparsifier
from privaudit.cohort.fits import Fits
from privaudit.cohort.importance import gradients_at_ones, mean_gradients
from privaudit.cohort.mean_inputs import mean_inputs
from privaudit.cohort.models import StackedModels
from privaudit.errors import PluginError
from privaudit.keys import derive, uniform
from privaudit.networks.answer import Answers
from privaudit.networks.state import Rows
from privaudit.train.dataset import DeviceDataset

ROLES = ("member", "validation", "reference")


@dataclass
class Looks:
    """What scripts have asked about examples beside training, in a few words each.

    A cohort and its forks share one, for what one has seen the other may act on.

    Attributes:
        members: of members, or of all examples, members among them.
        others: of no member.
    """

    members: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def note(self, what: str, members: bool) -> None:
        """Something was asked."""
        (self.members if members else self.others).add(what)


class LookingModels(StackedModels):
    """M models, and the examples that each has by role.

    Attributes:
        looks: what scripts have asked about examples.
    """

    looks: Looks
    sparsifier: Sparsifier
    defense: Defense
    _fits: Fits
    _data: DeviceDataset
    _rows: list[Rows]
    _seeds: tuple[int, ...]

    def gradients(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        rows: str = "member",
        most: int | None = None,
    ) -> dict[str, Tensor]:
        """As `privaudit.Cohort.gradients` says."""
        if rows == "ones":
            flat = gradients_at_ones(self._fits, self._state.weights, loss)
            return self._network.views(flat)
        chosen = self._chosen("gradients", rows, most)
        weights, owner = self._state.weights, (self.sparsifier, self.defense)
        return self._network.views(mean_gradients(self._fits, weights, loss, chosen, owner))

    def mean_inputs(self, rows: str = "member", most: int | None = None) -> dict[str, Tensor]:
        """As `privaudit.Cohort.mean_inputs` says."""
        chosen = self._chosen("mean_inputs", rows, most)
        owner = (self.sparsifier, self.defense)
        return mean_inputs(self._fits, self._state.weights, chosen, owner)

    @float32_products()
    def logits(self, x: Tensor | None = None) -> Tensor:
        """As `privaudit.Cohort.logits` says; zeros in a plan that lacks a training."""
        if self._fits.waits:
            count = len(self._data.y) if x is None else len(x)
            return torch.zeros(len(self), count, len(self._data.examples.classes))
        self._watched.check()
        if x is None:
            self.looks.note("answers to all examples", members=True)
        else:
            self.looks.note("answers to examples of its own", members=False)
        data = self._data if x is None else self._data.on(x)
        rows = torch.arange(len(data.y), device=self._network.device)
        ask = Answers(self._network).to_rows
        return torch.stack([ask(state, data.plain, rows) for state in self.states()]).cpu()

    def rows(self, role: str) -> list[Tensor]:
        """As `privaudit.Cohort.rows` says."""
        if role not in ROLES:
            raise PluginError(f"rows({role!r}): there are {', '.join(ROLES)}")
        return [getattr(rows, role).clone() for rows in self._rows]

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self._data.examples.y.clone()

    def _chosen(self, asker: str, role: str, most: int | None) -> list[Tensor]:
        """Each model's examples of a role, or so many of them, drawn by its own seed."""
        if role not in ROLES:
            ones = ", ones" if asker == "gradients" else ""
            raise PluginError(f"{asker}(rows={role!r}): there are {', '.join(ROLES)}{ones}")
        if most is not None and most < 1:
            raise PluginError(f"{asker}(most={most}): takes one example at least")
        every = self.rows(role)
        if not all(map(len, every)):
            raise PluginError(
                f"{asker}(rows={role!r}): a model has no {role} examples: raise the recipe's "
                f"split.{'members' if role == 'member' else role}"
            )
        self.looks.note(f"{asker.replace('_', ' ')} on {role} examples", role == "member")
        if most is None:
            return every
        return [
            some[uniform(torch.tensor(derive(seed, "looking", role)), len(some)).argsort()[:most]]
            for some, seed in zip(every, self._seeds, strict=True)
        ]
