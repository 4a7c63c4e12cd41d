"""Mixup: train between examples instead of on them."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit.keys import fold, uniform

_CELLS = 4096  # of the table of quantiles


class Mixup(privaudit.Defense):
    """Mix each batch with a permutation of itself, and its labels alike.

    One weight λ ~ Beta(alpha, alpha) and one permutation are drawn for a batch. The network sees
    λ · x + (1 - λ) · x', and its loss is λ · CE(p, y) + (1 - λ) · CE(p, y').

    It was made to generalise, not to hide, and may lead LiRA to more members, not fewer.
    """

    paper: ClassVar[str] = (
        "Zhang, Cisse, Dauphin & Lopez-Paz 2018, mixup: beyond empirical risk minimization"
    )

    name: Literal["mixup"] = "mixup"
    alpha: float = Field(
        1.0, ge=0.01, le=100, description="of Beta(alpha, alpha); the larger, the more is mixed"
    )

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        """The mixed batch."""
        share, partner = self._draw(key, len(x), x.dtype)
        return share * x + (1 - share) * x[partner]

    def loss(self, step: privaudit.Step) -> Tensor:
        """The mixed cross-entropy, with the weight and the partners of the inputs."""
        share, partner = self._draw(step.key, len(step.y), step.logits.dtype)
        own = cross_entropy(step.logits, step.y)
        return share * own + (1 - share) * cross_entropy(step.logits, step.y[partner])

    def _draw(self, key: Tensor, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The weight, a scalar, and each row's partner (B,)."""
        place = uniform(fold(key, 0), 1, dtype=torch.float64) * _CELLS
        cell = place.to(torch.int64)
        table = _quantiles(self.alpha, key.device)
        share = torch.lerp(table[cell], table[cell + 1], place - cell)
        return share.to(dtype)[0], uniform(fold(key, 1), count).argsort(stable=True)


@lru_cache(maxsize=8)
def _quantiles(alpha: float, device: torch.device) -> Tensor:
    """(_CELLS + 1,) from 0 to 1; weights between two of them are equally likely.

    They are kept where they are needed: sent to a GPU in every step, they would make it wait.
    """
    from scipy.special import betaincinv  # slow to import: not before it is needed

    shares = np.arange(_CELLS + 1) / _CELLS
    return torch.as_tensor(betaincinv(alpha, alpha, shares), device=device)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Mixup]
