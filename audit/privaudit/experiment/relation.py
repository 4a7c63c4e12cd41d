"""Whether a dense network can be the one that a sparse network was made from, by their weights."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor

from privaudit.doubts.doubt import Doubt
from privaudit.experiment.context import RunContext

_MATRIX = 2  # axes of a weight that is not a bias, without the axis of models
_ALIKE = 0.2
"""Correlation of weights below which two networks are strangers.

Networks trained apart have hidden units in another order, so that their weights share next to
nothing; one that was pruned and tuned, or rewound and trained anew, keeps most of its original.
`tests/audit/test_target_dense.py` has a pair of either kind.
"""
_CHANCE = 4.0  # standard errors that few weights may reach by chance

_SENTENCE = (
    "the weights that are left have next to nothing in common with those of target.dense: it does "
    "not seem to be the network that the target was made from; name that one, as what an attacker "
    "who holds both finds is else told of strangers"
)


def doubts_of_given(context: RunContext) -> list[Doubt]:
    """Doubts about a given target: how it is asked, and what it was made from."""
    return [] if context.given is None else [*context.given.doubts, *unrelated(context)]


def unrelated(context: RunContext) -> list[Doubt]:
    """A doubt about a given target whose dense original looks like another network.

    Programs keep their weights among their code, so nothing is told of them.
    """
    if context.given is None or context.given.original is None:
        return []
    found = likeness(context.given.cohort.weights, context.given.original.cohort.weights)
    if found is None:
        return []
    value, count = found
    if value >= max(_ALIKE, _CHANCE / sqrt(count)):
        return []
    return [Doubt("unrelated", "target", _SENTENCE, f"correlation {value:.2f}")]


def likeness(sparse: Mapping[str, Tensor], dense: Mapping[str, Tensor]) -> tuple[float, int] | None:
    """Pearson's correlation of weights that are not zero in the first, and how many there are.

    Biases and norms are alike in all networks, so only weights with two axes or more count, each
    tensor on a scale of its own.

    Args:
        sparse: weights by name, each with an axis of models in front.
        dense: likewise, of the same structure.

    Returns:
        None where no tensor compares.
    """
    together, count = 0.0, 0
    for name, weight in sparse.items():
        other = dense.get(name)
        if other is None or other.shape != weight.shape or weight.ndim - 1 < _MATRIX:
            continue
        left = weight[0] != 0
        pair = torch.stack([weight[0][left], other[0][left]]).double()
        if pair.shape[1] < _MATRIX or bool((pair.std(1) == 0).any()):
            continue
        together += float(torch.corrcoef(pair)[0, 1]) * pair.shape[1]
        count += pair.shape[1]
    return (together / count, count) if count else None
