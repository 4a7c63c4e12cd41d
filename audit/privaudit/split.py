"""Who trains on what: the target and its shadow models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from privaudit.errors import RecipeError
from privaudit.keys import derive
from privaudit.values import Role, Split

if TYPE_CHECKING:
    from privaudit.recipe import SplitOptions


@dataclass(frozen=True)
class _Sizes:
    member: int
    validation: int
    non_member: int
    reference: int

    @property
    def pool(self) -> int:
        return self.member + self.validation + self.non_member + self.reference


def make_split(options: SplitOptions, count: int, shadows: int, seed: int) -> Split:
    """Roles of `count` examples for a target and its shadow models.

    Every model's part depends on its own number and not on how many there are, so that more
    shadows leave those that are trained already as they were.

    Args:
        options: the recipe's `split`.
        count: N.
        shadows: K; even with the protocol "halves".
        seed: of the run; the partition follows `options.seed` instead where it is given.

    Raises:
        RecipeError: the dataset has too few examples for the sizes asked.
    """
    partition = seed if options.seed is None else options.seed
    if options.protocol == "halves":
        return _halves(options, count, shadows, seed, partition)
    return _disjoint(options, count, shadows, seed, partition)


def _disjoint(options: SplitOptions, count: int, shadows: int, seed: int, partition: int) -> Split:
    """Two pools: the target's and the shadows', each with its members and non-members."""
    sizes = _disjoint_sizes(options, count)
    order = _shuffled(torch.arange(count), derive(partition, "pools"))
    role = torch.zeros((1 + shadows, count), dtype=torch.uint8)
    for m in range(1 + shadows):
        pool = order[: sizes.pool] if m == 0 else order[sizes.pool : 2 * sizes.pool]
        own = _shuffled(pool, derive(partition, "own", m))
        parts = torch.split(
            own, [sizes.member, sizes.validation, sizes.non_member, sizes.reference]
        )
        roles = (Role.MEMBER, Role.VALIDATION, Role.NON_MEMBER, Role.REFERENCE)
        for part, what in zip(parts, roles, strict=True):
            role[m, part] = what
    may = torch.ones((1, 1 + shadows), dtype=torch.bool)
    may[0, 0] = False
    seeds = torch.tensor([derive(seed, "model", m) for m in range(1 + shadows)])
    return Split(role, may, torch.tensor([0]), seeds)


def _disjoint_sizes(options: SplitOptions, count: int) -> _Sizes:
    pool = count // 2
    reference = _amount(options.reference, pool)
    half = (pool - reference) // 2
    if options.members is None:
        validation = _amount(options.validation, half)
        member = half - validation
    else:
        member = options.members
        share = options.validation
        validation = share if isinstance(share, int) else round(member * share / (1 - share))
    non_member = half if options.members is None else member + validation
    if options.non_members is not None:
        non_member = options.non_members
    sizes = _Sizes(member, validation, non_member, reference)
    if 2 * sizes.pool > count or min(sizes.member, sizes.non_member) < 1:
        raise RecipeError(
            f"split: two pools of {member} members + {validation} validation + {non_member} "
            f"non-members + {reference} reference examples need {2 * sizes.pool} examples and at "
            f"least one member and one non-member; the dataset has {count}: ask for fewer"
        )
    return sizes


def _halves(options: SplitOptions, count: int, shadows: int, seed: int, partition: int) -> Split:
    """Complementary pairs: each audited example is a member of exactly one model of a pair."""
    validation = _amount(options.validation, count // 2)
    reference = _amount(options.reference, count // 2)
    half = (count - validation - reference) // 2 if options.members is None else options.members
    if half < 1 or 2 * half + validation + reference > count:
        raise RecipeError(
            f"split: {half} members + {half} non-members + {validation} validation + {reference} "
            f"reference examples are more than the dataset's {count}, or none: ask for fewer"
        )
    order = _shuffled(torch.arange(count), derive(partition, "pools"))
    held, audited = order[: validation + reference], order[validation + reference :][: 2 * half]
    every = options.targets == "all"
    names = [(pair, side) for pair in range(1 + shadows // 2) for side in (0, 1)]
    names = [n for n in names if every or n != (0, 1)]  # the target's complement is no shadow
    role = torch.zeros((len(names), count), dtype=torch.uint8)
    role[:, held[:validation]] = Role.VALIDATION
    role[:, held[validation:]] = Role.REFERENCE
    for m, (pair, side) in enumerate(names):
        mine = _shuffled(audited, derive(partition, "pair", pair))
        role[m, mine[:half]] = Role.NON_MEMBER if side else Role.MEMBER
        role[m, mine[half:]] = Role.MEMBER if side else Role.NON_MEMBER
    pairs = torch.tensor([pair for pair, _ in names])
    targets = torch.arange(len(names)) if every else torch.tensor([0])
    seeds = torch.tensor([derive(seed, "model", pair, side) for pair, side in names])
    return Split(role, pairs[targets][:, None] != pairs, targets, seeds)


def _amount(given: int | float, whole: int) -> int:
    return given if isinstance(given, int) else round(given * whole)


def _shuffled(rows: Tensor, key: int) -> Tensor:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(key))]
