"""The protocol "coin": each example is in each model's training data by a coin of its own.

Guarantees:
    - Coins are independent, over examples as over models: a model's number of members varies
      (binomially) around what is expected, and the members of one model tell nothing about
      another's. So all other models may serve as the shadows of any target: how many of them
      had an example says nothing about the target. Complementary pairs, as of "halves", are not
      independent, which is why a complement is kept from its target there.
    - Who is held out for validation or reference is so for every model, and is not audited.
    - A model's coins follow from its number alone: more shadows change nobody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from privaudit.errors import RecipeError
from privaudit.experiment.draws import amount, shuffled
from privaudit.keys import derive
from privaudit.values import Role, Split

if TYPE_CHECKING:
    from privaudit.recipe import SplitOptions


def coin_split(options: SplitOptions, count: int, shadows: int, seed: int, partition: int) -> Split:
    """Roles of `count` examples for a target and its shadows, or for targets in turn.

    Raises:
        RecipeError: the dataset has too few examples for the sizes asked, or a model got no
            member or no non-member.
    """
    nobody = torch.arange(0)
    role = _tossed(options, nobody, torch.arange(count), list(range(1 + shadows)), partition)
    targets = torch.arange(1 + shadows if options.targets == "all" else 1)
    others = targets[:, None] != torch.arange(1 + shadows)
    seeds = [derive(seed, "model", m) for m in range(1 + shadows)]
    fair = options.chance == 0.5
    return Split(role, others, targets, torch.tensor(seeds), coins=fair)


def own_coins(
    options: SplitOptions, candidates: Tensor, pool: Tensor, shadows: int, partition: int
) -> Tensor:
    """Roles (K, N) of shadows over a given target's examples and the attacker's own.

    Raises:
        RecipeError: the attacker has too few examples for the sizes asked, or a shadow got no
            member or no non-member.
    """
    return _tossed(options, candidates, pool, list(range(1, 1 + shadows)), partition)


def _tossed(
    options: SplitOptions, first: Tensor, pool: Tensor, models: list[int], partition: int
) -> Tensor:
    """Roles (M, N) of models, over rows that are all audited and a pool that also serves otherwise.

    Args:
        options: the recipe's.
        first: rows that are audited whatever the sizes.
        pool: rows to hold some out of, and to audit as many of the rest as are asked for.
        models: their numbers.
        partition: the key of all that is drawn.
    """
    count, chance = len(first) + len(pool), options.chance
    validation = amount(options.validation, round(chance * count))
    reference = amount(options.reference, round((1 - chance) * count))
    order = shuffled(pool, derive(partition, "pools"))
    held_out, rest = order[: validation + reference], order[validation + reference :]
    asked = len(first) + len(rest)
    if options.members is not None and options.members >= 1:
        asked = int(options.members) + int(options.non_members or options.members)
    if validation + reference > len(pool) or not 0 <= asked - len(first) <= len(rest):
        raise RecipeError(
            f"split: {asked} audited + {validation} validation + {reference} reference examples "
            f"cannot be had from the dataset's {len(pool)}"
            + (f" beside the target's {len(first)}" if len(first) else "")
            + ": change members, non_members, validation or reference"
        )
    audited = torch.cat([first, rest[: asked - len(first)]])
    role = torch.zeros((len(models), count), dtype=torch.uint8)
    role[:, held_out[:validation]] = Role.VALIDATION
    role[:, held_out[validation:]] = Role.REFERENCE
    for row, model in zip(role, models, strict=True):
        draw = torch.Generator().manual_seed(derive(partition, "coin", model))
        member = torch.rand(len(audited), generator=draw, dtype=torch.float64) < chance
        if not bool(member.any()) or bool(member.all()):
            raise RecipeError(
                f"split: with the chance {chance:g}, coins made all or none of {len(audited)} "
                f"examples members of model {model}: audit more, or choose another chance"
            )
        row[audited] = torch.where(member, Role.MEMBER, Role.NON_MEMBER).byte()
    return role
