"""Weights at the epoch where a network in training is just as accurate as another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from privaudit.networks.answer import Answers
from privaudit.networks.network import Network
from privaudit.networks.state import State
from privaudit.store.units import named_state, unpack_weights
from privaudit.train.dataset import DeviceDataset


class Matcher:
    """Watches K models train and keeps the weights that come nearest to wanted accuracies.

    Of epochs that come equally near, the first counts: the least trained network.

    Args:
        network: the structure the models share.
        data: the examples.
        rows: K models' examples, (n,) int64 each, on which accuracy is measured.
        wanted: (K, L) accuracies.
    """

    def __init__(
        self, network: Network, data: DeviceDataset, rows: list[Tensor], wanted: Tensor
    ) -> None:
        self._network, self._data = network, data
        self._answers = Answers(network)
        self._rows = [r.to(network.device) for r in rows]
        self._wanted = wanted
        self._gap = torch.full_like(wanted, torch.inf)
        self.kept: list[State] = []

    def watch(self, now: State) -> None:
        """Look at the models after an epoch."""
        gap = (self._accuracy(now)[:, None] - self._wanted).abs()
        closer = gap < self._gap
        self._gap = torch.where(closer, gap, self._gap)
        if not self.kept:
            self.kept = [now.clone() for _ in range(self._wanted.shape[1])]
            return
        for number in closer.any(0).nonzero()[:, 0].tolist():
            chosen = closer[:, number].to(self._network.device)
            self.kept[number] = now.where(chosen, self.kept[number])

    def memory(self, now: State) -> dict[str, Tensor]:
        """What it has found so far, (K, ...) by name; before the first epoch, where models are."""
        held = {"gap": self._gap}
        for number in range(self._wanted.shape[1]):
            held |= named_state(f"matched{number}", self.kept[number] if self.kept else now)
        return held

    def restore(self, held: Mapping[str, Tensor]) -> None:
        """Go on from what `memory` gave after an epoch."""
        self._gap = held["gap"]
        self.kept = [
            unpack_weights(f"matched{number}", [held]).to(self._network.device)
            for number in range(self._wanted.shape[1])
        ]

    def _accuracy(self, now: State) -> Tensor:
        """(K,) float64."""
        result = []
        for k, rows in enumerate(self._rows):
            logits = self._answers.to_rows(now.one(k), self._data.plain, rows)
            result.append((logits.argmax(-1) == self._data.y[rows]).double().mean().cpu())
        return torch.stack(result)
