"""The step of K chains of plain layers, by batched products instead of `vmap`.

`vmap` serves every network, but it looks each operation's rule up anew at every step and takes
the slower order of products and the slower layout of images where there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor
from torch.nn.functional import cross_entropy

from privaudit.cohort.chain import answer, chain
from privaudit.cohort.game import LOSS, Game
from privaudit.cohort.network import Buffers
from privaudit.cohort.stacked import over_models
from privaudit.keys import fold
from privaudit.plugin import Step, Weights, overrides

Objective = Callable[
    [Mapping[str, Tensor], Buffers, Buffers, Tensor, Buffers], tuple[Tensor, Buffers, Tensor]
]


def batched_objective(game: Game, count: int) -> Objective | None:
    """`Game.objective` of K stacked models, where the network and the hooks allow it.

    The network must be a chain of layers that `chain` knows; a defense may have a loss of its
    own, but no second player, no reference examples and no say in the inputs.
    """
    layers = chain(game.network.module)
    if layers is None or game.companion or game.defense.reference or game.inputs:
        return None
    loss = _loss(game, count)
    penalty = over_models(partial(_penalty, game), count)

    def objective(
        weights: Mapping[str, Tensor],
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor]:
        logits, after = answer(layers, weights, buffers, batch["x"], batch["key"])
        total = loss(logits, batch)
        if game.penalises:
            total = total + penalty(dict(weights))
        guesses = logits.detach().contiguous().argmax(-1)  # quicker than over strides
        return total, after, (guesses == batch["y"]).sum(1)

    return objective


def _loss(game: Game, count: int) -> Callable[[Tensor, Buffers], Tensor]:
    """Losses (K,) from logits (K, B, C) and a batch."""
    if not overrides(game.defense, "loss"):

        def plain(logits: Tensor, batch: Buffers) -> Tensor:
            return cross_entropy(logits.mT, batch["y"], reduction="none").mean(1)

        return plain

    def one(logits: Tensor, y: Tensor, epoch: Tensor, key: Tensor) -> Tensor:
        return game.defense.loss(Step(logits, y, epoch, fold(key, LOSS)))

    stacked = over_models(one, count)
    return lambda logits, batch: stacked(logits, batch["y"], batch["epoch"], batch["key"])


def _penalty(game: Game, weights: dict[str, Tensor]) -> Tensor:
    return game.sparsifier.penalty(Weights(weights, game.network.module))
