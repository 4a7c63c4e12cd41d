"""All models of a run: for every seed a target and its shadows, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from privaudit.experiment.canaries import canary_rows, with_canaries
from privaudit.experiment.split import given_split, make_split
from privaudit.experiment.target import Candidates
from privaudit.recipe import Recipe
from privaudit.values import Role, Split, audited


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
        """(M, N) bool: each model's members and non-members; attacks learn from the shadows'."""
        return audited(self.role)

    @property
    def tests(self) -> Tensor:
        """(M, N) bool: each model's non-members that its test accuracy is about."""
        return (self.role == Role.NON_MEMBER) & self._ordinary

    @property
    def learned(self) -> Tensor:
        """(M, N) bool: each model's members that its training accuracy is about."""
        return (self.role == Role.MEMBER) & self._ordinary

    @property
    def _ordinary(self) -> Tensor:
        return torch.cat([s.ordinary.expand_as(s.role) for s in self.splits])

    def models(self, number: int) -> Tensor:
        """The places (k,) of the models of the `number`-th seed."""
        sizes = [len(split.seeds) for split in self.splits]
        start = sum(sizes[:number])
        return torch.arange(start, start + sizes[number])

    @property
    def targets(self) -> Tensor:
        """The places (T,) of all seeds' targets."""
        return torch.cat([self.models(s)[split.targets] for s, split in enumerate(self.splits)])

    def named(self, model: int, seeds: Sequence[int]) -> str:
        """What messages call the model at a place: its number, its seed, and what it is for.

        Args:
            model: its place.
            seeds: the recipe's, one for each split.
        """
        starts = [int(self.models(s)[0]) for s in range(len(self.splits))]
        s = max(s for s, start in enumerate(starts) if start <= model)
        number, split, seed = model - starts[s], self.splits[s], seeds[s]
        what = "target" if bool((split.targets == number).any()) else "shadow"
        return f"network {number} of seed {seed} (a {what})"


def make_ensemble(recipe: Recipe, count: int, given: Candidates | None = None) -> Ensemble:
    """Deal out `count` examples for every seed of a recipe.

    Args:
        recipe: the question.
        count: N.
        given: the members and the non-members of a given target, among the examples.
    """
    if given is None:
        rows = canary_rows(recipe.split, count)
        others = count - len(rows)
        splits = tuple(make_split(recipe.split, others, recipe.shadows, s) for s in recipe.seeds)
        if len(rows):
            splits = tuple(
                with_canaries(split, recipe.split, rows, seed)
                for split, seed in zip(splits, recipe.seeds, strict=True)
            )
    else:
        sizes = given.members, given.non_members, count - given.members - given.non_members
        ordered = [given_split(recipe.split, *sizes, recipe.shadows, s) for s in recipe.seeds]
        splits = tuple(replace(split, role=split.role[:, given.order]) for split in ordered)
    return Ensemble(
        splits, torch.cat([s.role for s in splits]), torch.cat([s.seeds for s in splits])
    )
