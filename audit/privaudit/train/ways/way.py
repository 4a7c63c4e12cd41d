"""What a way of training has to give: the functions of a step of K models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from privaudit.networks.answer import stacked_answers
from privaudit.networks.network import Network
from privaudit.networks.state import Buffers, State
from privaudit.train.batch import CompanionGradientFunction, GradientFunction


@dataclass(frozen=True)
class Steps:
    """The functions of a step of K models.

    Attributes:
        gradients: of the models' losses.
        companion_gradients: of their companions' losses.
        project: weights (K, P) moved back to where the sparsifier lets them be, and its memory
            (K, ...) by name then; from weights, memory and epoch (K,).
        remember: the sparsifier's memory after an epoch; from the same.
        answers: logits (K, B, C) to examples (K, B, ...) of each model's own.
        seeded: whether they seed generators, and so read `Batch.seed`.
    """

    gradients: GradientFunction
    companion_gradients: CompanionGradientFunction
    project: Callable[[Tensor, Buffers, Tensor], tuple[Tensor, Buffers]]
    remember: Callable[[Tensor, Buffers, Tensor], Buffers]
    answers: Callable[[State, Tensor], Tensor] | None = None
    seeded: bool = False


def stacked(network: Network) -> Callable[[State, Tensor], Tensor]:
    """Answers of K models at once, for networks that can be stacked."""
    return lambda state, x: stacked_answers(network, state, x)
