"""Critical weights are rewound and frozen, the rest is fine-tuned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, SerializeAsAny
from torch import Tensor

import privaudit
from privaudit.keys import derive, uniform
from privaudit_plugins.defenses._importance import correlation, importances, largest
from privaudit_plugins.defenses.none import NoDefense


def _one_network(defense: privaudit.Defense) -> privaudit.Defense:
    for hook, what in {"companion": "a second network", "finish": "a finish of its own"}.items():
        if privaudit.overrides(defense, hook):
            raise ValueError(f"must not bring {what}, as {defense.name!r} does: name another")
    return defense


class CriticalWeightsRewinding(privaudit.Defense):
    """Put the few weights that give members away back to where they began, and tune the rest.

    Works on the trained networks of a level, each on its own. Every weight is scored by |g·θ|,
    its first-order importance for unlearning the members: for pulling the answers to them
    towards how sure the network is of examples it never saw, which are its reference examples
    or, where the split has none, its validation examples. The source names this objective and
    gives no formula; ours is in `_importance.importances`. The share with the largest
    scores goes back to its initial values and stays there, while all other weights are
    fine-tuned under another defense. The level is then the best validation epoch of that
    fine-tuning, as everywhere. Candidates are the weights of convolutions and linear layers that
    are not pruned (our choice): no bias, no normalisation.

    The correlation of the scores with the importance for cross-entropy is reported; the paper
    finds more than 0.9. What an attacker sees passes through the other defense's `respond`; an
    ε that it promises holds for fine-tuning only, so none is reported.
    """

    paper: ClassVar[str] = "Fang & Kim 2026, CWRF"
    deviations: ClassVar[tuple[str, ...]] = (
        "The unlearning objective is ours, because the source names it without a formula: a "
        "divergence that gives members' labels the mean confidence of unseen examples.",
        "That divergence has no weight λ beside the share of critical weights, which the "
        "paper's objective has.",
        "Biases and normalisation are never critical, where the paper looks at normalisation, too.",
        "The correlation of importances is over all candidates together, where the paper has "
        "one for each kind of layer.",
        "Fine-tuning has no other defense unless one is named, where the paper's variants A1 "
        "to A3 fine-tune with RelaxLoss.",
    )
    name: Literal["cwrf"] = "cwrf"
    score: Literal["vulnerability", "utility", "random"] = Field(
        "vulnerability",
        description="which weights are critical: for unlearning the members, for cross-entropy, "
        "or any (the control)",
    )
    share: float = Field(0.001, gt=0, le=1, description="of the weights that are critical")
    variant: Literal["zero", "tune_critical", "rewind"] = Field(
        "rewind",
        description="zero (A1 in the paper): critical weights are set to 0 and frozen; "
        "tune_critical (A2): they are rewound, and they alone are fine-tuned; rewind (A3, CWRF): "
        "they are rewound and frozen",
    )
    epochs: int | None = Field(None, ge=1, description="of fine-tuning; the recipe's if not given")
    lr: float | None = Field(None, gt=0, description="of fine-tuning; the recipe's if not given")
    defense: SerializeAsAny[Annotated[privaudit.Defense, AfterValidator(_one_network)]] = Field(
        NoDefense(), description="in force in fine-tuning, without a second network"
    )

    def refusal(self, split: privaudit.SplitOptions) -> str | None:
        """Why a recipe's split cannot serve this defense, and which setting would."""
        if not split.reference and not split.validation:
            return "compares with examples no network has seen: set split.validation above 0"
        inner = self.defense.refusal(split)
        return inner and f"fine-tunes with {self.defense.name!r}, which {inner}"

    def finish(self, cohort: privaudit.Cohort) -> None:
        """Score, rewind, fine-tune.

        Raises:
            PluginError: a model has neither reference nor validation examples.
        """
        found = importances(cohort, _unseen(cohort))
        cohort.note("importance correlation", correlation(cohort, *found))
        scores = found._asdict().get(self.score) or _random(cohort)
        critical = largest(cohort, scores, self.share)
        if self.variant == "zero":
            weights = cohort.weights
            cohort.set({n: weights[n].masked_fill(where, 0) for n, where in critical.items()})
        else:
            cohort.rewind("initial", where=critical)
        if self.variant == "tune_critical":
            everything = {n: torch.ones_like(mask) for n, mask in cohort.masks.items()}
            cohort.freeze(everything | {n: ~where for n, where in critical.items()})
        else:
            cohort.freeze(critical)
        changes: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        cohort.fit(self.epochs, tune=True, defense=self.defense, **changes)
        cohort.rewind("best")

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        """What the defense of fine-tuning lets an attacker see."""
        return self.defense.respond(logits, companion)


def _unseen(cohort: privaudit.Cohort) -> list[Tensor]:
    """Rows (n,) of each model that were in none of its trainings."""
    both = zip(cohort.rows("reference"), cohort.rows("validation"), strict=True)
    rows = [reference if len(reference) else validation for reference, validation in both]
    if not all(len(r) for r in rows):
        raise privaudit.PluginError(
            "defense 'cwrf' compares with examples that a network has not seen, and a model has "
            "none: raise the recipe's split.validation or split.reference"
        )
    return rows


def _random(cohort: privaudit.Cohort) -> dict[str, Tensor]:
    return {
        name: uniform(
            torch.tensor([derive(seed, "cwrf", name) for seed in cohort.seeds]),
            *mask.shape[1:],
            dtype=torch.float64,
        )
        for name, mask in cohort.masks.items()
    }


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [CriticalWeightsRewinding]
