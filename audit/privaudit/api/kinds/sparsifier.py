"""Sparsifiers: what makes a network sparse before, while or after it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from torch import Tensor, nn

from privaudit.api.cohort import Cohort
from privaudit.api.kinds.base import Plugin


class Weights(dict[str, Tensor]):
    """The weights of one model by name, as `nn.Module.named_parameters` spells them.

    Attributes:
        module: the network's structure, to tell a convolution from a BatchNorm; its own
            parameters hold nothing of interest.
    """

    def __init__(self, values: Mapping[str, Tensor], module: nn.Module) -> None:
        super().__init__(values)
        self.module = module


class Sparsifier(Plugin):
    """Makes a network sparse: before, while or after it is trained.

    Attributes:
        tunes: whether `sparsify` fine-tunes (`fit(tune=True)`), so that a defense that acts in
            fine-tuning only has its say.
        during: "all", or "train" where `penalty` and `project` act before fine-tuning only.
    """

    kind: ClassVar[str] = "sparsifier"
    tunes: ClassVar[bool] = False
    during: ClassVar[str] = "all"

    def prepare(self, module: nn.Module) -> nn.Module:
        """Replace layers before training; called for each model under its own seed."""
        return module

    def sparsify(self, cohort: Cohort) -> Iterator[str]:
        """Train and make sparse, yielding a label whenever the current weights are a level."""
        cohort.fit()
        cohort.rewind("best")
        yield ""

    def penalty(self, weights: Weights) -> Tensor:
        """A scalar added to one model's training loss."""
        raise NotImplementedError

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """One model's weights after each step of training, moved back to where they may be.

        Args:
            weights: the weights the step has reached.
            epoch: scalar int64, from 0.

        Returns:
            The weights that change, by name.
        """
        raise NotImplementedError
