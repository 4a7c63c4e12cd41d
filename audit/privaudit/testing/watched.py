"""A cohort that notices when a script writes into what it was only given to look at."""

from __future__ import annotations

import copy

from torch import Tensor

from privaudit.api.boundary import broken
from privaudit.api.plugin import Sparsifier
from privaudit.cohort import Cohort


class WatchedCohort(Cohort):
    """A cohort that remembers the tensors it has given away."""

    _given: list[tuple[str, Tensor, int]]

    @classmethod
    def of(cls, cohort: Cohort) -> WatchedCohort:
        """The same cohort, watched from now on; its forks are watched with it."""
        watched = copy.copy(cohort)
        watched.__class__ = cls
        assert isinstance(watched, WatchedCohort)
        watched._given = []
        return watched

    @property
    def weights(self) -> dict[str, Tensor]:
        """As the cohort gives them."""
        return self._remembered("weights", dict(super().weights))

    @property
    def initial_weights(self) -> dict[str, Tensor]:
        """As the cohort gives them."""
        return self._remembered("initial_weights", dict(super().initial_weights))

    @property
    def masks(self) -> dict[str, Tensor]:
        """As the cohort gives them."""
        return self._remembered("masks", dict(super().masks))

    def check(self, sparsifier: Sparsifier) -> None:
        """See that nothing was written into what was given away so far.

        Raises:
            PluginError: naming what the script should have called.
        """
        for name, tensor, version in self._given:
            if tensor._version != version:
                raise broken(
                    sparsifier,
                    "sparsify",
                    f"writes into cohort.{name}, which changes no model: give new values with "
                    "`cohort.set({n: w.where(w.abs() >= 0.05, 0) for n, w in "
                    "cohort.weights.items()})`, or prune with `cohort.prune_where`",
                )

    def _remembered(self, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        self._given += [(name, tensor, tensor._version) for tensor in tensors.values()]
        return tensors
