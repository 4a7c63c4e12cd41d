"""The Cubist Spiral: two arms of straight pieces that wind around each other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit.keys import derive, normal

_CORNERS = 17  # of an arm: two turns around the middle, in eighths
_ARMS = 30.0  # from one arm to the other


class CubistSpiral(privaudit.Dataset):
    """Points of two spiral arms made of 16 straight pieces each; 2 features, 2 classes.

    A made-up task for which the sparsest perceptrons are known: how far a pruner stays from them
    can be told. Points lie at equal distances along an arm's pieces, in the order of the arm,
    each corner once for each piece that it ends. Both features are standardised.
    """

    paper: ClassVar[str] = (
        "Zhang & Papyan 2024, Sparsest models elude pruning: an exposé of pruning's current "
        "capabilities; corners and points as the authors' code has them"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The paper trains and tests on the same points; here members and non-members are others.",
        "Noise is 0 in the paper, where no network can learn a point by heart.",
    )
    name: Literal["cubist_spiral"] = "cubist_spiral"
    points: int = Field(
        50_000, ge=200, description="of both arms together, less what rounding leaves out"
    )
    noise: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="standard deviation by which points leave their arm; the arms are 30 apart",
    )

    def load(self, root: Path) -> privaudit.Examples:
        """Features (N, 2), the outer arm first; no point is drawn but for its noise."""
        theta = torch.linspace(1, 5, _CORNERS, dtype=torch.float64) * torch.pi + 0.4 * torch.pi
        around = torch.stack([theta.cos(), theta.sin()], 1)
        middle = (10 * theta + torch.pi)[:, None]
        arms = [_along((middle + side * _ARMS / 2) * around, self.points // 2) for side in (1, -1)]
        x = torch.cat(arms)
        if self.noise:
            key = torch.tensor(derive(0, "cubist_spiral"))
            x = x + self.noise * normal(key, *x.shape, dtype=torch.float64)
        return privaudit.Examples(
            x=x.float(),
            y=torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor([len(a) for a in arms])),
            classes=("outer", "inner"),
            mean=x.mean(0).float(),
            std=x.std(0).float(),
        )


def _along(corners: Tensor, count: int) -> Tensor:
    """Points at equal distances on the pieces between corners (n, 2), both ends included."""
    lengths = (corners[1:] - corners[:-1]).norm(dim=1)
    counts = (lengths / lengths.sum() * count).int().tolist()
    return torch.cat(
        [
            end + torch.linspace(0, 1, points, dtype=torch.float64)[:, None] * (start - end)
            for start, end, points in zip(corners[:-1], corners[1:], counts, strict=True)
        ]
    )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [CubistSpiral]
