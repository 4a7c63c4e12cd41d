"""What K models are given in one step, and what the step comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from privaudit.networks.state import Buffers, State


class Batch(NamedTuple):
    """One step's examples of K models; of one model, without the leading axis.

    Attributes:
        x: (K, B, ...) normalised examples; `SparseRows` where the first layer takes them.
        y: (K, B) int64.
        key: (K,) int64: each model's own for this step.
        keys: (K, purposes) int64: the key folded with each purpose that `objective` names.
        epoch: (K,) int64, from 0.
        reference_x: (K, B, ...), for a defense that asks.
        reference_y: (K, B).
        real: (K, B) bool: which examples count, where batches differ in size; None: all.
        expected: (K,) how many examples batches have on average, where they differ in size.
        free: (K, P), 0 where a weight stays as it is, for gradients of single examples.
        seed: (K,) int64 on the host: the key where that is not, for ways that seed generators.
    """

    x: Tensor
    y: Tensor
    key: Tensor
    keys: Tensor
    epoch: Tensor
    reference_x: Tensor | None = None
    reference_y: Tensor | None = None
    real: Tensor | None = None
    expected: Tensor | None = None
    free: Tensor | None = None
    seed: Tensor | None = None


class CompanionBatch(NamedTuple):
    """One step's answers that K companions learn from; of one model, without the leading axis.

    Attributes:
        logits: (K, B, C) of the models, in evaluation mode, to members as they are.
        y: (K, B) int64.
        key: (K,) int64: each model's own for this step of its companion.
        keys: (K, purposes) int64: the key folded with each purpose that `objective` names.
        epoch: (K,) int64, from 0.
        reference_logits: (K, B, C) likewise to reference examples, for a defense that asks.
        reference_y: (K, B).
        seed: (K,) int64 on the host: the key where that is not, for ways that seed generators.
    """

    logits: Tensor
    y: Tensor
    key: Tensor
    keys: Tensor
    epoch: Tensor
    reference_logits: Tensor | None = None
    reference_y: Tensor | None = None
    seed: Tensor | None = None


class StepResult(NamedTuple):
    """What K models' step comes to.

    Attributes:
        gradients: by parameter, (K, *shape) each; None: nothing, or a momentum has it already.
        buffers: afterwards.
        loss: (K,).
        correct: (K,) how many answers were.
    """

    gradients: list[Tensor | None]
    buffers: Buffers
    loss: Tensor
    correct: Tensor


# From the weights by name, (K, *shape) each, the same among all that answers depend on, a batch.
# The buffers among it may be written into: they are the caller's to keep a copy of.
GradientFunction = Callable[[Mapping[str, Tensor], State, Batch], StepResult]
# The same for companions: gradients by parameter, and buffers afterwards.
CompanionGradientFunction = Callable[
    [Mapping[str, Tensor], State, CompanionBatch], tuple[list[Tensor | None], Buffers]
]
