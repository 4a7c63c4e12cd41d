"""How weights move: for each optimiser a pair of functions, `init` and `update`, by name.

Weights, gradients and slots are lists with one tensor (K, *shape) for each parameter of K models
that share their steps; a slot is what an optimiser remembers of a parameter. A new optimiser is a
class here and a line in `OPTIMIZERS`; recipes, their schema and their messages know it by that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Parts = list[Tensor]
Slots = list[Parts]


class Settings(Protocol):
    """The options of a recipe's `training` that optimisers read."""

    @property
    def momentum(self) -> float:
        """Of sgd."""

    @property
    def weight_decay(self) -> float:
        """Strength of the pull towards zero."""


class Rule(Protocol):
    """An optimiser's two functions; its constants are its fields."""

    @property
    def folding(self) -> float | None:
        """The share of the first slot that stays when a gradient is added to it; None: see below.

        Where it is a number, a layer may write `slot = folding * slot + gradient` as part of the
        product that the gradient comes from, and tell `update` so.
        """

    def init(self, weights: Parts) -> Slots:
        """What is remembered at first."""

    def update(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        slots: Slots,
        lr: float,
        free: Parts | None = None,
        folded: Collection[int] = (),
    ) -> None:
        """Move weights and slots by one step, in place.

        Args:
            weights: (K, *shape) each.
            gradients: theirs, not changed, because two may share memory; None: zero.
            slots: as `init` made them.
            lr: learning rate.
            free: (K, *shape) each, 0 where a weight must stay bit for bit; None: all move.
            folded: numbers of the parameters whose first slot has its gradient already.
        """


def _decayed(
    weights: Parts, gradients: Sequence[Tensor | None], decay: float, free: Parts | None
) -> Parts:
    """Gradients with an L2 penalty's, zero where a weight is not free."""
    moves = [
        torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)
    ]
    if decay:
        moves = list(torch._foreach_add(moves, weights, alpha=decay))
    return moves if free is None else list(torch._foreach_mul(moves, free))


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, as `torch.optim.SGD`.

    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning",
    in the form of PyTorch: m ← momentum·m + g, w ← w - lr·m.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def folding(self) -> float | None:
        """The momentum, where there is one."""
        return self.momentum or None

    def init(self, weights: Parts) -> Slots:
        """A momentum of zero."""
        return [[torch.zeros_like(w) for w in weights]]

    def update(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        slots: Slots,
        lr: float,
        free: Parts | None = None,
        folded: Collection[int] = (),
    ) -> None:
        """As `Rule.update`."""
        (momenta,) = slots
        moves: dict[int, Tensor] = {}
        rest = [n for n in range(len(weights)) if n not in folded]
        if rest:
            chosen = None if free is None else [free[n] for n in rest]
            steps = _decayed(
                [weights[n] for n in rest], [gradients[n] for n in rest], self.weight_decay, chosen
            )
            if self.momentum:
                before = [momenta[n] for n in rest]
                steps = list(torch._foreach_add(steps, before, alpha=self.momentum))
            moves = dict(zip(rest, steps, strict=True))
        for n in folded:
            gradient, momentum = gradients[n], momenta[n]
            if gradient is not None:
                momentum.add_(gradient)
            if self.weight_decay:
                momentum.add_(weights[n], alpha=self.weight_decay)
            if free is not None:
                momentum.mul_(free[n])
            moves[n] = momentum
        ordered = [moves[n] for n in range(len(weights))]
        if self.momentum:
            momenta[:] = ordered
        torch._foreach_sub_(weights, ordered, alpha=lr)


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015, "Adam", algorithm 1, as `torch.optim.Adam`.

    Each model counts its own steps, because a model may stop before the others.
    """

    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    folding: None = None

    def init(self, weights: Parts) -> Slots:
        """Both moments zero, and the number of steps, shaped to meet the weights."""
        first = [torch.zeros_like(w) for w in weights]
        second = [torch.zeros_like(w) for w in weights]
        steps = [w.new_zeros((len(w), *[1] * (w.ndim - 1))) for w in weights]
        return [first, second, steps]

    def update(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        slots: Slots,
        lr: float,
        free: Parts | None = None,
        folded: Collection[int] = (),
    ) -> None:
        """As `Rule.update`."""
        moves = _decayed(weights, gradients, self.weight_decay, free)
        for weight, gradient, first, second, steps in zip(weights, moves, *slots, strict=True):
            steps += 1
            first.lerp_(gradient, 1 - self.beta1)
            second.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
            width = (second.sqrt() / torch.sqrt(1 - self.beta2**steps)).add_(self.epsilon)
            weight.sub_(first / width * (lr / (1 - self.beta1**steps)))


@dataclass(frozen=True)
class AdamW:
    """Loshchilov & Hutter 2019, "Decoupled weight decay regularization", as `torch.optim.AdamW`.

    Weights shrink by lr·decay of themselves, whatever their gradients' size.
    """

    weight_decay: float = 0.0

    folding: None = None

    def init(self, weights: Parts) -> Slots:
        """As `Adam.init`."""
        return Adam().init(weights)

    def update(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        slots: Slots,
        lr: float,
        free: Parts | None = None,
        folded: Collection[int] = (),
    ) -> None:
        """As `Rule.update`."""
        if self.weight_decay:
            for number, weight in enumerate(weights):
                share = lr * self.weight_decay
                weight.mul_(1 - share if free is None else 1 - share * free[number])
        Adam().update(weights, gradients, slots, lr, free)


OPTIMIZERS: dict[str, Callable[[Settings], Rule]] = {
    "sgd": lambda options: SGD(options.momentum, options.weight_decay),
    "adam": lambda options: Adam(options.weight_decay),
    "adamw": lambda options: AdamW(options.weight_decay),
}
