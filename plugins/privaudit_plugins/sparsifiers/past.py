"""PAST: an L1 penalty where the network tells members from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit


class PrivacyAwareSparsityTuning(privaudit.Sparsifier):
    """Tune a trained network under an L1 penalty on the weights that give its members away.

    The privacy sensitivity of a parameter is |∂G/∂θ|, where G is the loss gap: the mean
    cross-entropy of examples that the network has not seen less that of its members. Its penalty
    is λ·γ·|θ|, where γ is its sensitivity over the mean sensitivity of its layer (equation 4), so
    that a layer's γ have the mean 1 and all of them together weigh as much as under a plain L1
    penalty. With `by: uniform` every γ is 1, which is that plain penalty: the control.

    Before each epoch of tuning γ is worked out anew. After it every parameter is moved towards zero
    by λ·γ^α × learning rate × steps of the epoch, but not past it (soft thresholding, the proximal
    step of an L1 penalty). What is zero may return, as nothing is pruned. The level is the network
    after the last epoch.
    """

    paper: ClassVar[str] = (
        "Hu, Zhang & Wei 2024, Defending membership inference attacks via privacy-aware sparsity "
        "tuning, arXiv 2410.06814"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Equation 4 is known to us from public reviews that quote it, without an absolute value; "
        "γ is a weight, so we take the sensitivity's.",
        "Those reviews name an α, varied at a fixed λ and 2.5 in the paper's table 1, but not "
        "where it stands: that γ is raised to it is our guess, and α = 1 is equation 4 as quoted.",
        "The penalty acts by one proximal step after each epoch, where the paper has it in the "
        "loss; this makes exact zeros, and neither momentum nor an adaptive optimiser acts on it.",
        "How often the paper renews γ is not known to us; here it is before each epoch.",
        "Each epoch of tuning starts with fresh momentum.",
        "A layer's parameters are its weight and its bias, those of normalisation too: what the "
        "paper calls a module is not known to us in more detail.",
        "The default λ is ours.",
    )
    tunes: ClassVar[bool] = True
    name: Literal["past"] = "past"
    by: Literal["sensitivity", "uniform"] = Field(
        "sensitivity",
        description="what γ is: a parameter's privacy sensitivity, or 1 for all (the control, "
        "which looks at no example)",
    )
    strength: float = Field(1e-4, gt=0, allow_inf_nan=False, description="λ, of the penalty")
    alpha: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="power to which γ is raised; with 0, γ is 1"
    )
    unseen: Literal["validation", "reference"] = Field(
        "validation", description="the split's examples that stand for those it has not seen"
    )
    examples: int | None = Field(
        None, ge=1, description="members, and unseen examples, to look at at most; all if not given"
    )
    epochs: int | None = Field(None, ge=1, description="of tuning; the recipe's if not given")
    lr: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="of tuning; the recipe's if not given"
    )

    def refusal(self, split: privaudit.SplitOptions) -> str | None:
        """That the split has no such examples."""
        if self.by == "sensitivity" and not getattr(split, self.unseen):
            other = "validation" if self.unseen == "reference" else "reference"
            return (
                f"compares members with {self.unseen} examples: set split.{self.unseen} to more "
                f"than 0, or unseen to {other}"
            )
        return None

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level: the tuned network.

        Raises:
            PluginError: a sensitivity is no finite number.
        """
        cohort.fit()
        cohort.rewind("best")
        cohort.mark_original()
        self._tune(cohort)
        yield ""

    def follow(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """The same from networks as they are; what is pruned stays so and counts in no mean."""
        self._tune(cohort)
        yield self.name

    def _tune(self, cohort: privaudit.Cohort) -> None:
        recipe = cohort.training
        changes = {"epochs": self.epochs or recipe.epochs, "lr": self.lr or recipe.lr}
        tuning = recipe.model_copy(update=changes)
        members = torch.tensor([len(r) for r in cohort.rows("member")]).double()
        steps = (members / tuning.batch_size).ceil()
        for epoch in range(tuning.passes()):
            rate, penalties = tuning.rate(epoch), self.penalties(cohort)
            cohort.fit(1, tune=True, lr=rate, schedule="constant", milestones=(), stop_after=None)
            cohort.set(shrunk(cohort.weights, penalties, self.strength * rate * steps))

    def penalties(self, cohort: privaudit.Cohort) -> dict[str, Tensor]:
        """γ^α of every parameter, (M, *shape) by name, of the networks as they are.

        Raises:
            PluginError: a gradient is no finite number.
        """
        if self.by == "uniform":
            return {name: torch.ones_like(w) for name, w in cohort.weights.items()}
        seen = cohort.gradients(cross_entropy, rows="member", most=self.examples)
        unseen = cohort.gradients(cross_entropy, rows=self.unseen, most=self.examples)
        gap = {name: (unseen[name] - seen[name]).abs() for name in cohort.weights}
        wrong = [name for name, g in gap.items() if not bool(g.isfinite().all())]
        if wrong:
            raise privaudit.PluginError(
                f"past: the trained network's gradients of {wrong[0]} are no finite numbers: "
                "train with a lower learning rate, and look at the scale of the inputs"
            )
        return {
            name: gamma**self.alpha for name, gamma in over_layer_mean(gap, cohort.masks).items()
        }


def over_layer_mean(values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values over their mean in a layer, which is |M|·v / Σv (equation 4).

    Args:
        values: (M, *shape) by parameter, none below 0; `conv.weight` and `conv.bias` are of one
            layer.
        masks: bool, alike: what is not pruned, and so one of the |M| parameters.

    Returns:
        The same shapes; 0 where it is pruned, and where all of a layer are 0.
    """
    layers: dict[str, list[str]] = {}
    for name in values:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    relative: dict[str, Tensor] = {}
    for names in layers.values():
        kept = {n: values[n] * masks[n] for n in names}
        total = torch.cat([v.flatten(1) for v in kept.values()], 1).sum(1)
        mean = total / torch.cat([masks[n].flatten(1) for n in names], 1).sum(1)
        for name, value in kept.items():
            of_layer = _per_model(mean, value)
            relative[name] = torch.where(of_layer > 0, value / of_layer, 0.0)
    return relative


def shrunk(
    weights: Mapping[str, Tensor], penalties: Mapping[str, Tensor], step: Tensor
) -> dict[str, Tensor]:
    """The proximal step of a weighted L1 penalty: each |w| falls by step·penalty, to 0 at least.

    Args:
        weights: (M, *shape) by name.
        penalties: of each weight, alike.
        step: (M,).
    """
    return {
        name: w.sign() * (w.abs() - _per_model(step, w) * penalties[name]).clamp(min=0)
        for name, w in weights.items()
    }


def _per_model(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [PrivacyAwareSparsityTuning]
