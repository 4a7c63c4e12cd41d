"""Copies that are given away to be looked at, and whether somebody has written into them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from privaudit.errors import PluginError

_OTHERWISE = (
    "give new values with `cohort.set({n: w.where(w.abs() >= 0.05, 0) for n, w in "
    "cohort.weights.items()})`, or prune with `cohort.prune_where`"
)
_INSTEAD = {"memory": "`project` and `remember` renew it, while a fit goes on"}


class Watched:
    """Remembers copies of a cohort's tensors until they are known to be as they were.

    A script that writes into such a copy changes nothing that anybody reads: it has to hand it
    to `set`, `prune` or the like. Views share the version counter of the tensor they look at, so
    one number tells about all of them.
    """

    def __init__(self) -> None:
        self._copies: list[tuple[str, Tensor, int]] = []

    def give(self, name: str, flat: Tensor) -> Tensor:
        """A copy of flat tensors (M, P) that is watched from now on.

        Args:
            name: how the script asks for it, for messages.
            flat: what it is of.
        """
        copy = flat.clone()
        self._copies.append((name, copy, copy._version))
        return copy

    def used(self, named: Mapping[str, Tensor]) -> None:
        """These tensors were handed to the cohort: what was written into them is read."""
        storages = {tensor.untyped_storage().data_ptr() for tensor in named.values()}
        self._copies = [
            watched
            for watched in self._copies
            if watched[1].untyped_storage().data_ptr() not in storages
        ]

    def check(self) -> None:
        """Forget all copies, unless somebody has written into one.

        Raises:
            PluginError: somebody has.
        """
        copies, self._copies = self._copies, []
        for name, copy, version in copies:
            if copy._version != version:
                raise PluginError(
                    f"writes into cohort.{name}, which is a copy to look at, so no model has "
                    f"changed: {_INSTEAD.get(name, _OTHERWISE)}"
                )
