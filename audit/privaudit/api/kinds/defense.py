"""Defenses: what changes training, or the answers, so that a network tells less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit.api.cohort import Cohort
from privaudit.api.kinds.base import Plugin
from privaudit.api.kinds.promise import Promise
from privaudit.api.split_options import SplitOptions
from privaudit.training import Training


@dataclass(frozen=True)
class Step:
    """One training step of one model, as its loss sees it.

    Attributes:
        logits: (B, C).
        y: (B,) int64.
        epoch: scalar int64, from 0; a tensor, so branch with `torch.where`.
        key: scalar int64 for `privaudit.keys`: this model's randomness in this step, in `loss` the
            same that `Defense.inputs` has had.
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
            pretraining is shared with the undefended subject. A recipe may say otherwise.
        acts_during: what a recipe says instead, as the option `during`; None: nothing.
    """

    kind: ClassVar[str] = "defense"
    reference: ClassVar[bool] = False
    per_example: ClassVar[bool] = False
    sampling: ClassVar[str] = "shuffle"
    during: ClassVar[str] = "all"

    acts_during: Literal["all", "tune"] | None = Field(
        None,
        alias="during",
        description="when it acts: in all training, or in tune, fine-tuning, alone; if not given, "
        "as its class says",
    )

    @field_validator("acts_during")
    @classmethod
    def _has_training_to_act_in(cls, said: str | None) -> str | None:
        if said is not None and not acts_in_training(cls):
            raise ValueError(f"must be left out: this defense changes no training (got {said!r})")
        return said

    @model_serializer(mode="wrap")
    def _as_recipes_say_it(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The options; without `during` where nothing is said, as before there was such a key."""
        data: dict[str, Any] = dump(self)
        for key in ("acts_during", "during"):  # whether asked by alias or not
            data.pop(key, None)
        return data if self.acts_during is None else data | {"during": self.acts_during}

    def refusal(self, split: SplitOptions) -> str | None:
        """Why a recipe's split cannot serve this defense, and which setting would; None if it can.

        Asked before anything is trained.

        What breaks: `return True`. Right is the reason, as it ends a sentence that begins with the
        defense's name: `return "needs 100 members: raise split.members"`.
        """
        if self.reference and not split.reference:
            return (
                "trains with reference examples: set split.reference to more than 0 "
                f"(got {split.reference})"
            )
        return None

    def schedule(self, training: Training) -> Training:
        """The options of a training in which this defense is in force, changed.

        Called once for all models. The options are frozen: give new ones.

        What breaks: `training.epochs = 5`. Right is
        `return training.model_copy(update={"epochs": 5})`.
        """
        return training

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        """One batch of normalised examples (B, ...), changed before the network sees them.

        You write for one model; it runs for many at once. The batch is the engine's: give a new
        one of the same shape.

        What breaks: `x.view(len(x), -1)`, for images may lie in memory with their channels last.
        Right is `x.flatten(1)`. And `torch.randn_like(x)` draws for all models together; right is
        `privaudit.keys.normal(key, *x.shape)`.

        Args:
            x: (B, ...).
            key: scalar int64 for `privaudit.keys`: that of the step whose loss follows.
        """
        return x

    def loss(self, step: Step) -> Tensor:
        """The scalar that one model's training step minimises.

        You write for one model; it runs for many at once, and is differentiated. What is in the
        step is the engine's: look at it.

        What breaks: `if step.epoch > 3`, for a tensor's value differs from model to model. Right
        is `torch.where(step.epoch > 3, late, early)`. For the same reason weigh,
        `(l * mask).sum() / mask.sum()`, instead of choosing, `l[mask].mean()`.
        """
        return cross_entropy(step.logits, step.y)

    def companion(self, classes: int) -> nn.Module:
        """A second network trained beside each model: `forward(logits, y)`.

        You write for one model; it is called for each under its own seed, and runs for many at
        once. The network is the engine's from then on.

        What breaks: F.one_hot(y, C) in its `forward`, which looks at the labels' values. Right is
        `(y[:, None] == torch.arange(C, device=y.device)).float()`.
        """
        raise NotImplementedError

    def companion_loss(self, step: Step) -> Tensor:
        """The scalar that the companion minimises by Adam, before each step of the model.

        You write for one model; it runs for many at once, as `loss` does, and what is in the step
        is the engine's. Each of its steps has members and reference examples of its own, as they
        are, and the model's answers to them in evaluation mode: what an attacker would see.

        What breaks: a loss of `step.logits` alone, from which the companion learns nothing. Right
        is one of `step.companion(step.logits, step.y)`.
        """
        raise NotImplementedError

    def companion_schedule(self) -> tuple[int, float]:
        """How many steps the companion takes for each step of the model, and its lr.

        With 0 steps it takes no part in training where there is a `finish`, which trains it by
        `cohort.fit_companion`: `reference` examples are then for `companion_loss` alone.

        Asked once for all models. What breaks: `return 5`. Right is `return 5, 1e-3`.
        """
        return 1, 1e-3

    def example_gradient(self, gradient: Tensor) -> Tensor:
        """One example's gradient over all P trained parameters, (P,), before the sum.

        You write for one example of one model; it runs for many of both at once. The gradient is
        the engine's: give a new one.

        What breaks: `if gradient.norm() > 1`. Right is
        `gradient / gradient.norm().clamp(min=1)`.
        """
        return gradient

    def batch_gradient(self, total: Tensor, count: Tensor, key: Tensor) -> Tensor:
        """From the sum (P,) of a batch's example gradients to the gradient of the step.

        You write for one model; it runs for many at once. The sum is the engine's: give a new one.

        What breaks: `total + torch.randn_like(total)`, which draws for all models together. Right
        is `total + privaudit.keys.normal(key, *total.shape)`.

        Args:
            total: (P,) summed over the batch.
            count: scalar: how many examples the batch has; with sampling "poisson", how many
                it has on average, because the true number is secret.
            key: scalar int64 for `privaudit.keys`.
        """
        return total / count

    def finish(self, cohort: Cohort) -> None:
        """Change the trained networks of a level; works on a fork of the sparsifier's cohort.

        You write for one model; it runs for many at once: the cohort's tensors are stacked on a
        first axis M. The fork is yours; its tensors are given to look at.

        What breaks: `cohort.weights["output.bias"].zero_()`, which changes no model. Right is
        `cohort.set({"output.bias": 0 * cohort.weights["output.bias"]})`.
        """
        raise NotImplementedError

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        """What an attacker gets to see for one model's logits (N, C).

        You write for one model; it is called for one after another. The logits are the engine's:
        give new ones of the same shape.

        What breaks: `logits.softmax(-1)`, for attacks take what they are given as logits. Right is
        `logits.softmax(-1).clamp(min=1e-9).log()`.

        Args:
            logits: (N, C).
            companion: the model's trained second player, called as `companion(logits, y)`, where
                there is one.
        """
        return logits

    def epsilon(self, rate: float, steps: int) -> float | Promise | None:
        """The ε of differential privacy that training promises; None: it promises none.

        Asked once for all models. A `privaudit.Promise` says ε with its terms: δ, what neighbours
        are, the accountant, and what it does not cover; a number leaves them untold. A hook that
        takes a third argument named `members` is told how many a model has, for δ depends on it.

        What breaks: `return -1.0` for no promise. Right is `None`.

        Args:
            rate: chance of each member to be in a batch.
            steps: of all trainings of one model in which this defense was in force.
        """
        return None


LEARNING = ("loss", "inputs", "example_gradient", "batch_gradient")
"""The hooks that make networks learn something else."""


def acts_while(defense: Defense) -> str:
    """The trainings in which a defense acts: "all", or "tune" for fine-tuning alone."""
    return defense.acts_during or defense.during


def acts_in_training(defense: type[Defense]) -> bool:
    """Whether a defense changes training at all."""

    def written(hook: str) -> bool:
        return getattr(defense, hook) is not getattr(Defense, hook)

    plays = written("companion") and not written("finish")  # which trains it afterwards
    return defense.per_example is not False or plays or any(map(written, (*LEARNING, "schedule")))
