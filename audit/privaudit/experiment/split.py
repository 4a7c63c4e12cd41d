"""Who trains on what: the target and its shadow models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from privaudit.errors import RecipeError
from privaudit.experiment.coin import coin_split, own_coins
from privaudit.experiment.draws import amount, count_of, one_target, shuffled
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

    @property
    def enough(self) -> bool:
        return min(self.member, self.non_member) > 0

    def __str__(self) -> str:
        return (
            f"{self.member} members + {self.validation} validation + {self.non_member} "
            f"non-members + {self.reference} reference examples"
        )


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
    if options.protocol == "coin":
        return coin_split(options, count, shadows, seed, partition)
    return _disjoint(options, count, shadows, seed, partition)


def given_split(
    options: SplitOptions, members: int, non_members: int, pool: int, shadows: int, seed: int
) -> Split:
    """Roles for a target that was trained elsewhere, and for the shadow models trained here.

    The examples are the target's members, its non-members, and the attacker's own, in this order.
    With the protocol "disjoint" the shadows know only the attacker's own. With "halves" the
    attacker is the auditor, who owns all: shadows come in complementary pairs over all examples,
    so that each of the target's is a member of half of them. With "coin" the attacker owns all,
    too, and each example is a member of each shadow with the same chance.

    Args:
        options: the recipe's `split`; its sizes are those of the shadows.
        members: of the target.
        non_members: of the target.
        pool: how many examples are the attacker's own.
        shadows: K; even with the protocol "halves".
        seed: of the run; the partition follows `options.seed` instead where it is given.

    Raises:
        RecipeError: the attacker has too few examples for the sizes asked.
    """
    partition = seed if options.seed is None else options.seed
    candidates, count = members + non_members, members + non_members + pool
    target = torch.zeros((1, count), dtype=torch.uint8)
    target[0, :members], target[0, members:candidates] = Role.MEMBER, Role.NON_MEMBER
    if shadows == 0:
        return one_target(target, [derive(seed, "model", 0)])
    candidate_rows, pool_rows = torch.split(torch.arange(count), [candidates, pool])
    seeds = [derive(seed, "model", m) for m in range(1 + shadows)]
    if options.protocol == "disjoint":
        role = _own_draws(options, pool_rows, count, shadows, partition)
    elif options.protocol == "coin":
        role = own_coins(options, candidate_rows, pool_rows, shadows, partition)
    else:
        names = [(pair, side) for pair in range(1, 1 + shadows // 2) for side in (0, 1)]
        role = _own_pairs(options, candidate_rows, pool_rows, names, partition)
        seeds = [derive(seed, "model", pair, side) for pair, side in [(0, 0), *names]]
    return one_target(torch.cat([target, role]), seeds)


def _disjoint(options: SplitOptions, count: int, shadows: int, seed: int, partition: int) -> Split:
    """Two pools: the target's and the shadows', each with its members and non-members."""
    sizes = _sizes(options, count // 2)
    if 2 * sizes.pool > count or not sizes.enough:
        raise RecipeError(
            f"split: two pools of {sizes} need {2 * sizes.pool} examples and at least one member "
            f"and one non-member; the dataset has {count}: ask for fewer"
        )
    order = shuffled(torch.arange(count), derive(partition, "pools"))
    role = torch.zeros((1 + shadows, count), dtype=torch.uint8)
    for m in range(1 + shadows):
        pool = order[: sizes.pool] if m == 0 else order[sizes.pool : 2 * sizes.pool]
        _deal(role[m], shuffled(pool, derive(partition, "own", m)), sizes)
    return one_target(role, [derive(seed, "model", m) for m in range(1 + shadows)])


def _own_draws(
    options: SplitOptions, pool: Tensor, count: int, shadows: int, partition: int
) -> Tensor:
    """Roles (K, N) of shadows that each draw from the attacker's own examples."""
    sizes = _sizes(options, len(pool))
    if sizes.pool > len(pool) or not sizes.enough:
        raise RecipeError(
            f"split: with a given target a shadow's {sizes} need {sizes.pool} examples of the "
            f"attacker's own and at least one member and one non-member; dataset has {len(pool)}: "
            "ask for fewer"
        )
    role = torch.zeros((shadows, count), dtype=torch.uint8)
    for m in range(shadows):
        _deal(role[m], shuffled(pool, derive(partition, "own", 1 + m)), sizes)
    return role


def _deal(role: Tensor, rows: Tensor, sizes: _Sizes) -> None:
    """Give the rows, in their order, their roles (N,) for one model."""
    parts = [sizes.member, sizes.validation, sizes.non_member, sizes.reference]
    roles = (Role.MEMBER, Role.VALIDATION, Role.NON_MEMBER, Role.REFERENCE)
    for part, what in zip(torch.split(rows[: sizes.pool], parts), roles, strict=True):
        role[part] = what


def _sizes(options: SplitOptions, pool: int) -> _Sizes:
    """What one model's members and the rest take of a pool, whether they fit or not."""
    reference = amount(options.reference, pool)
    half = (pool - reference) // 2
    if options.members is None:
        validation = amount(options.validation, half)
        member = half - validation
    else:
        member = count_of(options.members)
        share = options.validation
        validation = share if isinstance(share, int) else round(member * share / (1 - share))
    non_member = half if options.members is None else member + validation
    if options.non_members is not None:
        non_member = options.non_members
    return _Sizes(member, validation, non_member, reference)


def _halves(options: SplitOptions, count: int, shadows: int, seed: int, partition: int) -> Split:
    """Complementary pairs: each audited example is a member of exactly one model of a pair."""
    validation = amount(options.validation, count // 2)
    reference = amount(options.reference, count // 2)
    half = (count - validation - reference) // 2
    if options.members is not None:
        half = count_of(options.members)
    if half < 1 or 2 * half + validation + reference > count:
        raise RecipeError(
            f"split: {half} members + {half} non-members + {validation} validation + {reference} "
            f"reference examples are more than the dataset's {count}, or none: ask for fewer"
        )
    order = shuffled(torch.arange(count), derive(partition, "pools"))
    held_out, audited = order[: validation + reference], order[validation + reference :][: 2 * half]
    every = options.targets == "all"
    names = [(pair, side) for pair in range(1 + shadows // 2) for side in (0, 1)]
    names = [n for n in names if every or n != (0, 1)]  # the target's complement is no shadow
    role = torch.zeros((len(names), count), dtype=torch.uint8)
    role[:, held_out[:validation]] = Role.VALIDATION
    role[:, held_out[validation:]] = Role.REFERENCE
    for m, (pair, side) in enumerate(names):
        _deal_half(role[m], shuffled(audited, derive(partition, "pair", pair)), side)
    pairs = torch.tensor([pair for pair, _ in names])
    targets = torch.arange(len(names)) if every else torch.tensor([0])
    seeds = torch.tensor([derive(seed, "model", pair, side) for pair, side in names])
    return Split(role, pairs[targets][:, None] != pairs, targets, seeds)


def _own_pairs(
    options: SplitOptions,
    candidates: Tensor,
    pool: Tensor,
    names: list[tuple[int, int]],
    partition: int,
) -> Tensor:
    """Roles (K, N) of complementary pairs over the target's examples and the attacker's own."""
    count = len(candidates) + len(pool)
    validation = amount(options.validation, count // 2)
    reference = amount(options.reference, count // 2)
    order = shuffled(pool, derive(partition, "pools"))
    held_out, rest = order[: validation + reference], order[validation + reference :]
    asked = len(candidates) + len(rest)
    if options.members is not None:
        asked = 2 * count_of(options.members)
    if validation + reference > len(pool) or not 0 <= asked - len(candidates) <= len(rest):
        raise RecipeError(
            f"split: with a given target and halves, a shadow's members and non-members are the "
            f"target's {len(candidates)} examples and as many of dataset's {len(pool)} as are not "
            f"held out for {validation} validation + {reference} reference examples; "
            f"{asked} in all cannot be had: change members, validation or reference"
        )
    audited = torch.cat([candidates, rest[: asked - len(candidates)]])
    role = torch.zeros((len(names), count), dtype=torch.uint8)
    role[:, held_out[:validation]] = Role.VALIDATION
    role[:, held_out[validation:]] = Role.REFERENCE
    for m, (pair, side) in enumerate(names):
        _deal_half(role[m], shuffled(audited, derive(partition, "pair", pair)), side)
    return role


def _deal_half(role: Tensor, rows: Tensor, side: int) -> None:
    """Make the first half of the rows members of one side of a pair, and the rest of the other."""
    half = len(rows) // 2
    role[rows[:half]] = Role.NON_MEMBER if side else Role.MEMBER
    role[rows[half:]] = Role.MEMBER if side else Role.NON_MEMBER
