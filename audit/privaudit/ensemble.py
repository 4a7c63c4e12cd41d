"""All models of a run: for every seed a target and its shadows, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.recipe import Recipe
from privaudit.split import make_split
from privaudit.values import Role, Split


@dataclass(frozen=True)
class Ensemble:
    """The splits of all seeds, whose models train together.

    Attributes:
        splits: one for each of the recipe's seeds.
        role: (M, N) uint8: the splits' roles, one after another.
        seeds: (M,) int64.
    """

    splits: tuple[Split, ...]
    role: Tensor
    seeds: Tensor

    @property
    def audited(self) -> Tensor:
        """(M, N) bool: each model's members and non-members."""
        return (self.role == Role.MEMBER) | (self.role == Role.NON_MEMBER)

    def models(self, number: int) -> Tensor:
        """The places (k,) of the models of the `number`-th seed."""
        sizes = [len(split.seeds) for split in self.splits]
        start = sum(sizes[:number])
        return torch.arange(start, start + sizes[number])


def make_ensemble(recipe: Recipe, count: int) -> Ensemble:
    """Deal out `count` examples for every seed of a recipe."""
    splits = tuple(make_split(recipe.split, count, recipe.shadows, s) for s in recipe.seeds)
    return Ensemble(
        splits, torch.cat([s.role for s in splits]), torch.cat([s.seeds for s in splits])
    )
