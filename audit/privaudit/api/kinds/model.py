"""Models: network architectures."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from privaudit.api.kinds.base import Plugin


class Model(Plugin):
    """A network architecture."""

    kind: ClassVar[str] = "model"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A freshly initialised network from examples (B, *shape) to logits (B, classes).

        You write for one model; it runs for many at once: the engine calls `forward` with the
        stacked weights of many. The network is the engine's from then on, which may replace its
        weights; `forward` must not keep or change what it is given.

        What breaks: F.dropout, which draws for all models together. Right is the module
        nn.Dropout, for which the engine draws from each model's own key. A network that cannot
        run for many (nn.LSTM, a branch on a tensor's value) is trained one after another.

        Its randomness is torch's global generator, which the engine seeds for each model.
        A network may name its groups of layers in an attribute
        `segments: tuple[tuple[str, ...], ...]`, first to last: dotted names of the layers of
        each segment that a sparsifier may substitute.
        """
        raise NotImplementedError
