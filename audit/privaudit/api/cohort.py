"""What a sparsifier's script and a defense's `finish` work on: many models that look like one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, Self

from torch import Tensor, nn

from privaudit.api.kinds.base import Plugin
from privaudit.training import Training


class Structure(Protocol):
    """The architecture that the models of a cohort share; its own weights mean nothing."""

    @property
    def module(self) -> nn.Module:
        """The network, to tell a convolution from a BatchNorm."""

    @property
    def names(self) -> tuple[str, ...]:
        """The trained parameters, as `nn.Module.named_parameters` spells them."""


class Cohort(ABC):
    """M models of one architecture, each with its own seed, examples, weights and mask.

    A script is written once and runs for every model at the same time: tensors by name are
    stacked on a leading axis M. What a cohort gives away it gives read-only: a script changes
    models by calling `set`, `prune`, `freeze` and the like, never by writing into a tensor.
    The script must not choose what to do by what it finds in the weights, because models may be
    cut into several cohorts.

    One example of what breaks: `for w in cohort.weights.values(): w[w.abs() < 0.05] = 0` would
    change a copy that nobody reads, so it is refused. Right is
    `cohort.set({n: w.where(w.abs() >= 0.05, 0) for n, w in cohort.weights.items()})`.
    """

    @abstractmethod
    def __len__(self) -> int:
        """M."""

    @abstractmethod
    def fit(
        self,
        epochs: int | None = None,
        *,
        tune: bool = False,
        defense: Plugin | None = None,
        sparsifier: Plugin | None = None,
        **training: object,
    ) -> None:
        """Train every model from where it is, with a fresh optimiser and schedule.

        Each model ends at its last epoch; the state of its best validation epoch (the last
        where there is no validation) is kept for `rewind("best")`.

        Args:
            epochs: instead of the recipe's.
            tune: this is fine-tuning: a defense that acts in fine-tuning only is in force.
            defense: in force instead of the recipe's; it must not bring a companion.
            sparsifier: whose hooks of training are in force instead of the recipe's, such as
                `privaudit.Sparsifier(name="none")`, which has none; it must not prepare networks.
            training: other options of the recipe's `training` to override.
        """

    @abstractmethod
    def fit_companion(self, epochs: int, batch_size: int = 64) -> None:
        """Train the second network of every model on what the first answers as it is now.

        For the `finish` of a defense whose `companion_schedule` asks for no steps beside the
        network's. The answers are those in evaluation, to examples that are not augmented. Call
        it last: the networks that it learns from are those that are shown.

        Args:
            epochs: passes over the members.
            batch_size: members in a step, and as many reference examples where `reference` is
                true.

        Raises:
            PluginError: there is no such network, or its weights are no numbers afterwards.
        """

    @abstractmethod
    def rewind(self, to: str | int = "best", where: Mapping[str, Tensor] | None = None) -> None:
        """Put weights back to an earlier state; masks stay, unless `to` is a saved name.

        Args:
            to: "best" (of the last fit), "initial", a name given to `save`, or the number of
                epochs of the first fit after which to take the weights.
            where: (M, *shape) bool by name: only these weights go back.

        Raises:
            PluginError: there is no such state.
        """

    @abstractmethod
    def save(self, name: str) -> None:
        """Keep weights and masks under a name, to rewind to.

        Raises:
            PluginError: the name means something else to `rewind`.
        """

    @abstractmethod
    def fork(self) -> Self:
        """A cohort that starts here and leaves this one undisturbed."""

    @abstractmethod
    def mark_original(self) -> None:
        """Say that the models as they are now are the originals of all levels that follow.

        Attacks that need `original` see what these dense networks answer beside what a level's
        networks answer. Call it once they are trained, before anything is pruned. Until it is
        called levels have no original.
        """

    @abstractmethod
    def set(self, weights: Mapping[str, Tensor]) -> None:
        """Give weights, (M, *shape) by name, new values; pruned ones stay zero.

        Raises:
            PluginError: an unknown name or a wrong shape.
        """

    @abstractmethod
    def prune(
        self,
        keep: float | Tensor,
        scores: Mapping[str, Tensor] | None = None,
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

    @abstractmethod
    def prune_where(self, where: Mapping[str, Tensor]) -> None:
        """Set the chosen weights, (M, *shape) bool by name, to zero, for good."""

    @abstractmethod
    def freeze(self, where: Mapping[str, Tensor]) -> None:
        """Let the chosen weights, (M, *shape) bool by name, move no more."""

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, Tensor]:
        """The weights, (M, *shape) by name, to look at: writing into them is an error."""

    @property
    @abstractmethod
    def initial_weights(self) -> Mapping[str, Tensor]:
        """The weights before any training, (M, *shape) by name, to look at."""

    @property
    @abstractmethod
    def memory(self) -> Mapping[str, Tensor]:
        """What the sparsifier remembered when the models were where they are, (M, ...) by name.

        To look at; empty where the fit that led here had no memory.
        """

    @property
    @abstractmethod
    def masks(self) -> Mapping[str, Tensor]:
        """What is not pruned, (M, *shape) bool by name, to look at."""

    @property
    @abstractmethod
    def seeds(self) -> tuple[int, ...]:
        """Each model's own seed, for `privaudit.keys`."""

    @property
    @abstractmethod
    def training(self) -> Training:
        """The recipe's schedule, which `fit` follows unless told otherwise."""

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """(N,) int64: the labels of all examples."""

    @abstractmethod
    def rows(self, role: str) -> list[Tensor]:
        """Each model's examples (n,) int64 of a role: "member", "validation" or "reference"."""

    @abstractmethod
    def logits(self, x: Tensor | None = None) -> Tensor:
        """Answers (M, N, C) of all models to all examples, or to x (n, ...) in their units."""

    @abstractmethod
    def gradients(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        rows: str = "member",
        most: int | None = None,
    ) -> dict[str, Tensor]:
        """Gradients (M, *shape) by name of `loss(logits, y)`, a mean over examples.

        Args:
            loss: of logits (B, C) and labels (B,), differentiable, a mean over its batch.
            rows: "member", "validation" or "reference": over which of each model's examples. Or
                "ones": at one input of ones, of label 0, which looks at nobody; in float64.
            most: so many of the examples at most, drawn by each model's seed; all if not given.

        Raises:
            PluginError: there are no such examples.
        """

    @abstractmethod
    def mean_inputs(self, rows: str = "member", most: int | None = None) -> dict[str, Tensor]:
        """What each convolution and linear layer takes in, (M, inputs) float64 by layer.

        The mean of each input over examples and places, dropout off: what the units that feed it
        answer, once BatchNorm, activation and pooling are behind them.

        Args:
            rows: "member", "validation" or "reference": over which of each model's examples.
            most: so many of the examples at most, drawn by each model's seed; all if not given.

        Raises:
            PluginError: there are no such examples.
        """

    @property
    @abstractmethod
    def network(self) -> Structure:
        """The architecture that the models share."""

    @abstractmethod
    def note(self, name: str, values: Tensor) -> None:
        """Have a number of each model, (M,), reported with the level that comes next.

        Raises:
            PluginError: not one number for each model.
        """
