"""Models of one network asked one after another, at the price of their arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from privaudit.cohort.network import Network


class Asker:
    """Calls a network's module with one model's weights after another's, in evaluation.

    What `Network.forward` answers, but the places of the weights are looked up once and not on
    every call, which takes as long as a small network's answers to a thousand examples.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._module = network.module.eval()
        first: dict[int, str] = {}  # a tensor that several layers share has one name
        self._places: list[tuple[dict[str, Tensor], str, str]] = []
        for prefix, layer in self._module.named_modules():
            for held in (layer._parameters, layer._buffers):
                for own, tensor in held.items():
                    if tensor is not None:
                        name = first.setdefault(id(tensor), f"{prefix}.{own}" if prefix else own)
                        self._places.append((held, own, name))

    def __call__(self, flat: Tensor, buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Logits (B, C) of the model with weights (P,) and its buffers, by name; not changed."""
        named = self._network.views(flat) | {n: b.clone() for n, b in buffers.items()}
        before = [held[own] for held, own, _ in self._places]
        try:
            for held, own, name in self._places:
                held[own] = named[name]
            logits: Tensor = self._module(x)
        finally:
            for (held, own, _), tensor in zip(self._places, before, strict=True):
                held[own] = tensor
        return logits
