"""The five kinds of plugin.

A plugin is its options: a frozen pydantic model with `name: Literal["..."]`, its fields, and one
or two methods. Authors write for one model; the engine trains many at once.
What a plugin needs from the engine is a `ClassVar`, never an option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from privaudit.api.split_options import SplitOptions
    from privaudit.cohort import Cohort
    from privaudit.training import Training
    from privaudit.values import AttackScores, Examples, Signals


class Plugin(BaseModel):
    """What all plugins share: options that are checked when they are given.

    Attributes:
        kind: dataset, model, sparsifier, defense or attack; set by the five kinds.
        paper: where the method was published, one line; empty where it has no paper.
        name: what recipes call it; narrowed by each plugin to one `Literal` with a default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = ""
    paper: ClassVar[str] = ""

    name: str


class Dataset(Plugin):
    """Real examples with labels."""

    kind: ClassVar[str] = "dataset"

    def load(self, root: Path) -> Examples:
        """Read the examples, in an order that never changes.

        Args:
            root: the folder where downloads and decoded copies are kept.

        Raises:
            DataError: a file is missing, damaged, or holds what cannot be audited.
        """
        raise NotImplementedError


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


@dataclass(frozen=True)
class Step:
    """One training step of one model, as its loss sees it.

    Attributes:
        logits: (B, C).
        y: (B,) int64.
        epoch: scalar int64, from 0; a tensor, so branch with `torch.where`.
        key: scalar int64 for `privaudit.keys`: this model's randomness in this step, the same
            that `Defense.inputs` has had.
        reference_logits: (B, C) on reference examples, where the defense asks for them.
        reference_y: (B,) int64.
        companion: the second player, called as `companion(logits, y)`, where there is one.
    """

    logits: Tensor
    y: Tensor
    epoch: Tensor
    key: Tensor
    reference_logits: Tensor | None = None
    reference_y: Tensor | None = None
    companion: Callable[..., Tensor] | None = None


class Defense(Plugin):
    """Changes training, or what an attacker gets to see, so that a network tells less.

    Attributes:
        reference: the split must hold reference examples, and `loss` sees them.
        per_example: gradients are taken example by example and pass through
            `example_gradient` and `batch_gradient`.
        sampling: "shuffle": batches go through a permutation of the members; "poisson": each
            member is in each batch by a coin of its own, as accountants of differential privacy
            assume. Batches then differ in size, so `per_example` must be true.
        during: "all", or "tune" for a defense that acts in fine-tuning only, so that
            pretraining is shared with the undefended subject.
    """

    kind: ClassVar[str] = "defense"
    reference: ClassVar[bool] = False
    per_example: ClassVar[bool] = False
    sampling: ClassVar[str] = "shuffle"
    during: ClassVar[str] = "all"

    def refusal(self, split: SplitOptions) -> str | None:
        """Why a recipe's split cannot serve this defense, and which setting would; None if it can.

        Asked before anything is trained.
        """
        if self.reference and not split.reference:
            return (
                "trains with reference examples: set split.reference to more than 0 "
                f"(got {split.reference})"
            )
        return None

    def schedule(self, training: Training) -> Training:
        """The options of a training in which this defense is in force, changed."""
        return training

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        """One batch of normalised examples (B, ...), changed before the network sees them.

        Args:
            x: (B, ...).
            key: scalar int64 for `privaudit.keys`: that of the step whose loss follows.
        """
        return x

    def loss(self, step: Step) -> Tensor:
        """The scalar that one model's training step minimises."""
        return cross_entropy(step.logits, step.y)

    def companion(self, classes: int) -> nn.Module:
        """A second network trained beside each model: `forward(logits, y)`."""
        raise NotImplementedError

    def companion_loss(self, step: Step) -> Tensor:
        """The scalar that the companion minimises by Adam, before each step of the model."""
        raise NotImplementedError

    def companion_schedule(self) -> tuple[int, float]:
        """How many steps the companion takes for each step of the model, and its lr."""
        return 1, 1e-3

    def example_gradient(self, gradient: Tensor) -> Tensor:
        """One example's gradient over all P trained parameters, (P,), before the sum."""
        return gradient

    def batch_gradient(self, total: Tensor, count: Tensor, key: Tensor) -> Tensor:
        """From the sum (P,) of a batch's example gradients to the gradient of the step.

        Args:
            total: (P,) summed over the batch.
            count: scalar: how many examples the batch has; with sampling "poisson", how many
                it has on average, because the true number is secret.
            key: scalar int64 for `privaudit.keys`.
        """
        return total / count

    def finish(self, cohort: Cohort) -> None:
        """Change the trained networks of a level; works on a fork of the sparsifier's cohort."""
        raise NotImplementedError

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        """What an attacker gets to see for one model's logits (N, C).

        Args:
            logits: (N, C).
            companion: the model's trained second player, called as `companion(logits, y)`, where
                there is one.
        """
        return logits

    def epsilon(self, rate: float, steps: int) -> float | None:
        """The ε of differential privacy that training promises; None: it promises none.

        Args:
            rate: chance of each member to be in a batch.
            steps: of all trainings of one model in which this defense was in force.
        """
        return None


class Attack(Plugin):
    """Tells members from non-members.

    On a CPU several targets are attacked at once, each in a process of one thread; a class that
    such a process cannot import stays in this one.

    Attributes:
        queries: how many augmented versions of each example are asked; 1 is the example itself.
        noise: how many noisy copies of each example are asked.
        signals: what else is needed: "gradient_norm"; "x", the examples themselves; or
            "augmentation", data whose augmented queries differ from the example.
        shadows: how many shadow models it needs at least.
    """

    kind: ClassVar[str] = "attack"
    queries: ClassVar[int] = 1
    noise: ClassVar[int] = 0
    signals: ClassVar[frozenset[str]] = frozenset()
    shadows: ClassVar[int] = 0

    def refusal(self, split: SplitOptions, shadows: int) -> str | None:
        """Why a recipe's split cannot serve this attack, and which setting would; None if it can.

        Asked before anything is trained; what only the data can tell, `score` has to refuse.

        Args:
            split: the recipe's.
            shadows: how many there are for each target.
        """
        return None

    def score(self, signals: Signals) -> AttackScores:
        """Score every example from what the attacker has."""
        raise NotImplementedError


KINDS: tuple[type[Plugin], ...] = (Dataset, Model, Sparsifier, Defense, Attack)


def overrides(plugin: Plugin, method: str) -> bool:
    """Whether a plugin writes a method of its kind itself."""
    base = next(kind for kind in KINDS if isinstance(plugin, kind))
    return getattr(type(plugin), method) is not getattr(base, method)
