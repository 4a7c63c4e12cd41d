"""How much each weight matters, to first order, for a loss: |g·θ| (Molchanov et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit


class Importances(NamedTuple):
    """Of every weight, (M, *shape) by name: for unlearning the members, and for cross-entropy."""

    vulnerability: dict[str, Tensor]
    utility: dict[str, Tensor]


def importances(cohort: privaudit.Cohort, unseen: list[Tensor]) -> Importances:
    """How much each weight matters for what a network tells of its members, and for its task.

    Unlearning pulls the answer p to each member towards the answer t of a network that had not
    seen it, by the loss KL(t ‖ p). What t is, is our choice: the distribution nearest to p, in
    KL(t ‖ p), that gives the label the mean probability a which this network gives the labels of
    examples it never saw. It is a on the label and p in proportion on the rest (Csiszár 1975,
    I-divergence geometry). With t held fixed the gradient is linear in a, so two gradients
    that do not depend on a serve models with an a of their own each.

    Args:
        cohort: M trained models.
        unseen: for each model the rows, (n,) int64, of examples it never saw.
    """
    label, rest = cohort.gradients(cross_entropy), cohort.gradients(rest_cross_entropy)
    a = _confidence(cohort, unseen)
    unlearning = {}
    for name, g in label.items():
        own = a.to(g.dtype).view(-1, *[1] * (g.ndim - 1))
        unlearning[name] = own * g + (1 - own) * rest[name]
    return Importances(*(_importance(cohort, g) for g in (unlearning, label)))


def rest_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy against what the answer itself, held fixed, says of the other labels.

    Args:
        logits: (B, C).
        y: (B,) int64.
    """
    label = y[:, None] == torch.arange(logits.shape[-1], device=y.device)
    others = logits.detach().masked_fill(label, -torch.inf).softmax(-1)
    return -(others * logits.log_softmax(-1)).sum(-1).mean()


def correlation(
    cohort: privaudit.Cohort, one: dict[str, Tensor], other: dict[str, Tensor]
) -> Tensor:
    """(M,) Pearson correlation of two importances over the weights that are not pruned."""
    kept, x, y = (_flat(cohort, each) for each in (cohort.masks, one, other))
    pairs = [torch.stack([x[m][k], y[m][k]]).double() for m, k in enumerate(kept)]
    return torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs])


def largest(cohort: privaudit.Cohort, scores: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The round(share x count) weights of each model with the largest scores, at least one.

    Candidates are those that `Cohort.prune` takes by default, the weights of two and more axes,
    unless they are pruned.

    Returns:
        (M, *shape) bool by the candidates' names.
    """
    kept = _flat(cohort, cohort.masks)
    keep = torch.maximum(torch.tensor(share, dtype=torch.float64), 1 / kept.sum(1).double())
    chosen = privaudit.keep_largest(_flat(cohort, scores), kept, keep.clamp(max=1))
    shapes = {name: cohort.masks[name].shape for name in candidates(cohort)}
    parts = torch.split(chosen, [shape[1:].numel() for shape in shapes.values()], 1)
    return {name: p.view(shape) for (name, shape), p in zip(shapes.items(), parts, strict=True)}


def candidates(cohort: privaudit.Cohort) -> list[str]:
    """Names of the weights of two and more axes: no bias, no BatchNorm."""
    return [name for name, mask in cohort.masks.items() if mask.ndim > 2]


def _confidence(cohort: privaudit.Cohort, unseen: list[Tensor]) -> Tensor:
    """(M,) mean probability that each model gives the labels of its unseen examples."""
    y = cohort.labels
    return torch.stack(
        [
            logits[rows].double().softmax(-1).gather(1, y[rows, None]).mean()
            for logits, rows in zip(cohort.logits(), unseen, strict=True)
        ]
    )


def _importance(cohort: privaudit.Cohort, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: (gradients[name] * w).abs() for name, w in cohort.weights.items()}


def _flat(cohort: privaudit.Cohort, named: Mapping[str, Tensor]) -> Tensor:
    """(M, Q) of the candidates, one after another."""
    return torch.cat([named[name].flatten(1) for name in candidates(cohort)], 1)
