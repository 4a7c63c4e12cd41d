"""SGD and Adam over the stacked weights of many models, in place."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Parts = list[Tensor]  # of K models, (K, *shape) each


class Optimizer:
    """What `torch.optim.SGD` and `torch.optim.Adam` compute, for K models at once.

    Every model keeps its own momentum; a model that is not active keeps weights and momentum.

    Args:
        like: the weights by parameter, (K, *shape) each.
        kind: how they move.
        momentum: of SGD.
        weight_decay: added to the gradient.
    """

    def __init__(
        self,
        like: Parts,
        kind: Literal["sgd", "adam"],
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self._kind = kind
        self._momentum = momentum
        self._weight_decay = weight_decay
        zeros = torch.contiguous_format
        self._first = [torch.zeros_like(w, memory_format=zeros) for w in like]
        self._second = [torch.zeros_like(w, memory_format=zeros) for w in like if kind == "adam"]
        # Each model's own number of steps, shaped to meet its weights.
        self._steps = [torch.zeros_like(w[(slice(None), *[slice(1)] * (w.ndim - 1))]) for w in like]

    def step(
        self,
        weights: Parts,
        gradients: Parts,
        lr: float,
        trainable: Parts | None = None,
        active: Tensor | None = None,
    ) -> None:
        """Move the weights in place.

        Args:
            weights: (K, *shape) each.
            gradients: theirs; not changed, because two may share memory.
            lr: learning rate.
            trainable: theirs, 0 where a weight must stay bit for bit; None: all move.
            active: (K,) bool: models that are still training; None: all.
        """
        before = None
        if active is not None:
            before = [part.clone() for part in self._all(weights)]  # as _move may replace them
        if self._weight_decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=self._weight_decay))
        if trainable is not None:
            gradients = list(torch._foreach_mul(gradients, trainable))
        self._move(weights, gradients, lr)
        if before is not None and active is not None:
            for now, then in zip(self._all(weights), before, strict=True):
                now.copy_(torch.where(active.view(-1, *[1] * (now.ndim - 1)), now, then))

    def _all(self, weights: Parts) -> list[Tensor]:
        return [*weights, *self._first, *self._second, *self._steps]

    def _move(self, weights: Parts, gradients: Parts, lr: float) -> None:
        if self._kind == "sgd":
            if self._momentum:
                gradients = list(torch._foreach_add(gradients, self._first, alpha=self._momentum))
                self._first = gradients
            torch._foreach_sub_(weights, gradients, alpha=lr)
            return
        for weight, gradient, first, second, steps in zip(
            weights, gradients, self._first, self._second, self._steps, strict=True
        ):
            steps += 1
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            width = (second.sqrt() / torch.sqrt(1 - 0.999**steps)).add_(1e-8)
            weight.sub_(first / width * (lr / (1 - 0.9**steps)))
