"""SGD and Adam over the stacked weights of many models, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Parts = list[Tensor]  # of K models, (K, *shape) each


class Optimizer:
    """What `torch.optim.SGD` and `torch.optim.Adam` compute, for K models at once.

    Every model keeps its own momentum; a model that is not active keeps weights and momentum.
    Under SGD with momentum a layer may add its gradient to the momentum by itself, as part of
    the product that the gradient comes from: large weights are then passed by less often.

    Attributes:
        keep: the share of a momentum that stays.

    Args:
        like: the weights by parameter, (K, *shape) each.
        kind: how they move.
        momentum: of SGD.
        weight_decay: added to the gradient.
    """

    def __init__(
        self,
        like: Mapping[str, Tensor],
        kind: Literal["sgd", "adam"],
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        weights = list(like.values())
        self.keep = momentum
        self._kind = kind
        self._weight_decay = weight_decay
        self._first = [torch.zeros_like(w) for w in weights]
        self._second = [torch.zeros_like(w) for w in weights if kind == "adam"]
        # Each model's own number of steps, shaped to meet its weights.
        one = slice(1)
        self._steps = [torch.zeros_like(w[(slice(None), *[one] * (w.ndim - 1))]) for w in weights]
        self._places = {name: place for place, name in enumerate(like)}
        self._taken: set[int] = set()
        self._open = False

    def begin(self, active: Tensor | None) -> None:
        """A step begins; `active` is the one that `step` will be given."""
        self._taken.clear()
        self._open = self._kind == "sgd" and self.keep > 0 and active is None

    def take(self, name: str) -> Tensor | None:
        """A parameter's momentum (K, *shape), to become `keep` times itself plus the gradient.

        Who gets it gives no gradient to `step`; None: the gradient has to go there.
        """
        if not self._open:
            return None
        self._taken.add(self._places[name])
        return self._first[self._places[name]]

    def step(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        lr: float,
        trainable: Parts | None = None,
        active: Tensor | None = None,
    ) -> None:
        """Move the weights in place.

        Args:
            weights: (K, *shape) each.
            gradients: theirs, beyond what was added to a momentum taken; None: nothing. Not
                changed, because two may share memory.
            lr: learning rate.
            trainable: theirs, 0 where a weight must stay bit for bit; None: all move.
            active: (K,) bool: models that are still training; None: all.
        """
        before = None
        if active is not None:
            before = [part.clone() for part in self._all(weights)]  # the step may replace them
        (self._sgd if self._kind == "sgd" else self._adam)(weights, gradients, lr, trainable)
        self._taken.clear()
        if before is not None and active is not None:
            for now, then in zip(self._all(weights), before, strict=True):
                now.copy_(torch.where(active.view(-1, *[1] * (now.ndim - 1)), now, then))

    def _all(self, weights: Parts) -> list[Tensor]:
        return [*weights, *self._first, *self._second, *self._steps]

    def _decayed(self, weights: Parts, gradients: Sequence[Tensor | None]) -> Parts:
        given = [
            torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)
        ]
        if not self._weight_decay:
            return given
        return list(torch._foreach_add(given, weights, alpha=self._weight_decay))

    def _sgd(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        lr: float,
        trainable: Parts | None,
    ) -> None:
        rest = [place for place in range(len(weights)) if place not in self._taken]
        moves = self._decayed([weights[p] for p in rest], [gradients[p] for p in rest])
        if trainable is not None and rest:
            moves = list(torch._foreach_mul(moves, [trainable[p] for p in rest]))
        if self.keep and rest:
            olds = [self._first[p] for p in rest]
            moves = list(torch._foreach_add(moves, olds, alpha=self.keep))
        new = dict(zip(rest, moves, strict=True))
        for place in self._taken:
            gradient, momentum = gradients[place], self._first[place]
            if gradient is not None:
                momentum.add_(gradient)
            if self._weight_decay:
                momentum.add_(weights[place], alpha=self._weight_decay)
            if trainable is not None:
                momentum.mul_(trainable[place])
            new[place] = momentum
        moves = [new[place] for place in range(len(weights))]
        if self.keep:
            self._first = moves
        torch._foreach_sub_(weights, moves, alpha=lr)

    def _adam(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        lr: float,
        trainable: Parts | None,
    ) -> None:
        moves = self._decayed(weights, gradients)
        if trainable is not None:
            moves = list(torch._foreach_mul(moves, trainable))
        for weight, gradient, first, second, steps in zip(
            weights, moves, self._first, self._second, self._steps, strict=True
        ):
            steps += 1
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            width = (second.sqrt() / torch.sqrt(1 - 0.999**steps)).add_(1e-8)
            weight.sub_(first / width * (lr / (1 - 0.9**steps)))
