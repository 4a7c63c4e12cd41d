"""SGD and Adam over the stacked weights (K, P) of many models, in place."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


class Optimizer:
    """What `torch.optim.SGD` and `torch.optim.Adam` compute, for K models in one tensor.

    Every model keeps its own momentum; a model that is not active keeps weights and momentum.
    """

    def __init__(
        self,
        like: Tensor,
        kind: Literal["sgd", "adam"],
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self._kind = kind
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._first = torch.zeros_like(like)
        self._second = torch.zeros_like(like) if kind == "adam" else None
        self._steps = torch.zeros((len(like), 1), device=like.device, dtype=like.dtype)

    def step(
        self,
        flat: Tensor,
        gradient: Tensor,
        lr: float,
        trainable: Tensor | None = None,
        active: Tensor | None = None,
    ) -> None:
        """Move the weights in place.

        Args:
            flat: (K, P).
            gradient: (K, P); overwritten.
            lr: learning rate.
            trainable: (K, P), 0 where a weight must stay bit for bit; None: all move.
            active: (K, 1) bool: models that are still training; None: all.
        """
        before = None
        if active is not None:
            before = (flat.clone(), self._first.clone(), self._steps.clone(), self._second)
            before = (*before[:3], None if self._second is None else self._second.clone())
        if self._weight_decay:
            gradient.add_(flat, alpha=self._weight_decay)
        if trainable is not None:
            gradient.mul_(trainable)
        self._move(flat, gradient, lr)
        if before is not None and active is not None:
            self._restore(flat, before, active)

    def _move(self, flat: Tensor, gradient: Tensor, lr: float) -> None:
        if self._second is None:
            self._first.mul_(self._momentum).add_(gradient)
            flat.sub_(self._first, alpha=lr)
            return
        self._steps += 1
        self._first.lerp_(gradient, 0.1)
        self._second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = torch.sqrt(1 - 0.999**self._steps)
        width = (self._second.sqrt() / scale).add_(1e-8)
        flat.sub_(self._first / width * (lr / (1 - 0.9**self._steps)))

    def _restore(self, flat: Tensor, before: tuple[Tensor | None, ...], active: Tensor) -> None:
        for now, then in zip((flat, self._first, self._steps, self._second), before, strict=True):
            if now is not None and then is not None:
                now.copy_(torch.where(active, now, then))
