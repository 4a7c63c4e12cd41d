"""Sparsifiers: what makes a network sparse before, while or after it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from torch import Tensor, nn

from privaudit.api.cohort import Cohort
from privaudit.api.kinds.base import Plugin
from privaudit.api.split_options import SplitOptions


class Weights(dict[str, Tensor]):
    """The weights of one model by name, as `nn.Module.named_parameters` spells them.

    Attributes:
        module: the network's structure, to tell a convolution from a BatchNorm; its own
            parameters hold nothing of interest.
        memory: what the sparsifier remembers of this model, by name; empty where its `memory` is
            not written.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        module: nn.Module,
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(values)
        self.module = module
        self.memory = dict(memory or {})


class Sparsifier(Plugin):
    """Makes a network sparse: before, while or after it is trained.

    Attributes:
        tunes: whether `sparsify` fine-tunes (`fit(tune=True)`), so that a defense that acts in
            fine-tuning only has its say.
        during: "all", or "train" where the hooks of training, that is `memory`, `penalty`,
            `project` and `remember`, act before fine-tuning only.
    """

    kind: ClassVar[str] = "sparsifier"
    tunes: ClassVar[bool] = False
    during: ClassVar[str] = "all"

    def refusal(self, split: SplitOptions) -> str | None:
        """Why a recipe's split cannot serve it, and which setting would; None if it can.

        Asked before anything is trained.

        What breaks: `return True`. Right is the reason, as it ends a sentence that begins with the
        sparsifier's name: `return "looks at reference examples: set split.reference"`.
        """
        return None

    def prepare(self, module: nn.Module) -> nn.Module:
        """Replace layers before training; called for each model under its own seed.

        You write for one model; it is called for each, and the network is yours to change. All
        models must come out alike, but for their weights.

        What breaks: choosing layers by chance or by their weights, for then models differ in
        structure. Right is to choose by name, kind or shape, and to return the module.
        """
        return module

    def sparsify(self, cohort: Cohort) -> Iterator[str]:
        """Train and make sparse, yielding a label whenever the current weights are a level.

        You write for one model; it runs for many at once: the cohort's tensors are stacked on a
        first axis M. They are given to look at; models change by the cohort's methods.

        What breaks: `for w in cohort.weights.values(): w[w.abs() < 0.05] = 0`, which changes no
        model. Right is
        `cohort.prune_where({n: w.abs() < 0.05 for n, w in cohort.weights.items()})`.
        """
        cohort.fit()
        cohort.rewind("best")
        yield ""

    def follow(self, cohort: Cohort) -> Iterator[str]:
        """Go on from networks that another sparsifier has made, as a recipe says by `then`.

        As `sparsify`, but the networks are trained, and perhaps pruned, already. It runs once for
        each level of the other.

        What breaks: `cohort.fit()` at its beginning, which trains on with this sparsifier's hooks
        what the level's label calls finished. Right is to begin with what makes it sparse.
        """
        raise NotImplementedError

    def memory(self, weights: Weights) -> Mapping[str, Tensor]:
        """What a fit remembers of one model beside its weights, as it begins.

        The other hooks of training find it in `weights.memory`; `project` and `remember` renew
        it. Each fit begins with a new one. You write for one model; it is called for each, on
        the host, under its own seed.

        What breaks: a name that a weight has. Right is `{f"old {n}": w for n, w in
        weights.items()}`.

        Args:
            weights: the weights the fit starts from.

        Returns:
            Tensors of any shapes by names of their own, of the same shapes for all models.
        """
        raise NotImplementedError

    def penalty(self, weights: Weights) -> Tensor:
        """A scalar added to one model's training loss.

        You write for one model; it runs for many at once, and is differentiated. The weights are
        the engine's: look at them.

        What breaks: `if size > 1`, a branch on a tensor's value, which differs from model to
        model. Right is `torch.where(size > 1, size, 2 * size)`.
        """
        raise NotImplementedError

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """One model's weights after each step of training, moved back to where they may be.

        You write for one model; it runs for many at once. The weights are the engine's: give new
        ones.

        What breaks: `weights["conv.weight"].clamp_(0)`, which writes into them. Right is
        `return {"conv.weight": weights["conv.weight"].clamp(0)}`.

        Args:
            weights: the weights the step has reached.
            epoch: scalar int64, from 0.

        Returns:
            The weights that change, by name, and what changes of the memory.
        """
        raise NotImplementedError

    def remember(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """What one model's memory holds after an epoch of training.

        You write for one model; it runs for many at once. Weights and memory are the engine's:
        give new tensors.

        What breaks: `if epoch % 3 == 2`, a branch on a tensor's value. Right is
        `torch.where(epoch % 3 == 2, new, old)`.

        Args:
            weights: the weights the epoch has reached; `weights.memory` is the memory so far.
            epoch: scalar int64, the one that ends, from 0.

        Returns:
            What changes of the memory, by name, of the same shapes.
        """
        raise NotImplementedError
