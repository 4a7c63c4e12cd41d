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

        Its randomness is torch's global generator, which the engine seeds for each model.
        A network may name its groups of layers in an attribute
        `segments: tuple[tuple[str, ...], ...]`, first to last: dotted names of the layers of
        each segment that a sparsifier may substitute.
        """
        raise NotImplementedError
